package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

const (
	// Waits before a session that has ended is started again: none before the
	// first time, then from firstRestart doubling up to lastRestart, until one
	// has lived for steadyAfter.
	firstRestart = time.Second
	lastRestart  = 30 * time.Second
	steadyAfter  = 30 * time.Second

	// maxSessions bounds how many sessions a tunnel has.
	maxSessions = 16
)

// errTunnelClosed says that nobody wants the tunnel any more.
var errTunnelClosed = errors.New("the forward has ended")

// Tunnel leads to one destination and spreads connections over its sessions.
// It keeps a number of these up and starts those again that end, or, on demand,
// starts them when a connection needs one and ends them when they have been
// idle. All methods may be called concurrently.
type Tunnel struct {
	// Open starts a session and returns its stream, which the tunnel closes. It may
	// be called concurrently.
	Open func(context.Context) (stream.Port, error)

	// Log is told what happens, as slog.Logger's Info is.
	Log func(msg string, args ...any)

	// Demand, if not 0, is over how many sessions connections are spread that are
	// started on demand: 16 at most.
	Demand int

	// Idle is how long sessions stay without a connection that were started on
	// demand, or added to those that are kept up; 0 means two minutes, or
	// 30 seconds for an added one.
	Idle time.Duration

	// Held is for how long a program may not read what has come for it before
	// connections to come go by another session; 0 means a second.
	Held time.Duration

	// Changed, if not nil, is told when the first session is up, when the last
	// one is gone before its time, and when another cannot be started, unless
	// that is on demand and a dial's error. It must not call the tunnel.
	Changed func(State, error)

	// Replaced, if not nil, is told that a session was given up for another one
	// because its agent does not answer any more. It must not call the tunnel.
	Replaced func()

	budget *budget // of sessions that are started on demand, with other tunnels

	// vacant, if not nil, is told when a session that was started on demand is
	// gone, or could not be started.
	vacant func()

	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	lanes    []*lane
	starting int           // sessions, beyond those that are kept up
	added    int           // sessions, beyond those that are kept up, that are not gone yet
	waiting  int           // dials
	failures int           // of starting sessions on demand
	err      error         // why no session could be started last; nil since one was
	news     chan struct{} // closed when any of this changes

	// Another session beside those that are there is not tried before retryAt; the
	// last wait was retryWait.
	retryAt   time.Time
	retryWait time.Duration

	// Sessions that dials wait for are started under needed, which abandon ends
	// when no dial waits any more.
	needed  context.Context
	abandon context.CancelFunc
}

// State is what has become of a tunnel.
type State int

const (
	Up     State = iota // there is a session
	Down                // the last session has ended
	Failed              // a session could not be started
)

// Run starts the tunnel with n sessions that are kept up. ctx bounds its life; Close must be
// called.
func (t *Tunnel) Run(ctx context.Context, n int) {
	t.ctx, t.stop = context.WithCancelCause(ctx)
	t.news = make(chan struct{})
	t.abandon = func() {}
	for range min(n, maxSessions) {
		t.wg.Go(t.keep)
	}
}

// Close ends all sessions, and returns when they are gone.
func (t *Tunnel) Close() {
	t.mu.Lock()
	t.stop(errTunnelClosed) // behind it no session is added
	t.mu.Unlock()
	t.wg.Wait()
}

// keep has one session, and another when that has ended.
func (t *Tunnel) keep() {
	wait := time.Duration(0)
	for t.ctx.Err() == nil {
		begun := time.Now()
		if t.once() {
			if time.Since(begun) >= steadyAfter {
				wait = 0
			}
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-t.ctx.Done():
		}
		wait = min(max(2*wait, firstRestart), lastRestart)
	}
}

// once starts a session and stays with it to its end. It says whether it could
// be started.
func (t *Tunnel) once() bool {
	l, err := t.start(t.ctx)
	if err != nil {
		if t.ctx.Err() == nil {
			t.update(func() { t.err = err })
			t.tell(Failed, err)
		}
		return false
	}
	first := false
	t.update(func() {
		t.err = nil
		t.lanes = append(t.lanes, l)
		first = len(t.lanes) == 1
	})
	if first {
		t.tell(Up, nil)
	}
	t.during(l, nil)
	last := t.forget(l)
	err = l.port.Err()
	l.close()
	t.Log("session ended", "err", err)
	switch {
	case t.ctx.Err() != nil:
	case stream.Forbidden(err):
		t.refused(err)
	case last:
		t.tell(Down, err)
	}
	return true
}

// refused ends the tunnel for good: another session would be refused as well.
// Dials fail with err.
func (t *Tunnel) refused(err error) {
	t.tell(Failed, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop(err) // behind it no session is added
}

func (t *Tunnel) start(ctx context.Context) (*lane, error) {
	port, err := t.Open(ctx)
	if err != nil {
		return nil, err
	}
	return newLane(port, cmp.Or(t.Held, heldAfter), func() { t.update(func() {}) }), nil
}

// forget takes l off the list, and says whether none is left.
func (t *Tunnel) forget(l *lane) (last bool) {
	t.update(func() { last = t.remove(l) && len(t.lanes) == 0 })
	return last
}

// remove takes l off the list if it is there. t.mu is held.
func (t *Tunnel) remove(l *lane) bool {
	i := slices.Index(t.lanes, l)
	if i >= 0 {
		t.lanes = slices.Delete(t.lanes, i, i+1)
	}
	return i >= 0
}

func (t *Tunnel) tell(s State, err error) {
	if t.Changed != nil {
		t.Changed(s, err)
	}
}

// update changes the tunnel's state and wakes those who wait for a change.
func (t *Tunnel) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.news)
	t.news = make(chan struct{})
}

// Ready waits until there is a session, or returns why the first attempt to
// start one failed.
func (t *Tunnel) Ready(ctx context.Context) error {
	for {
		t.mu.Lock()
		up, err, news := len(t.lanes) > 0, t.err, t.news
		t.mu.Unlock()
		if up || err != nil {
			return err
		}
		if err := t.wait(ctx, news); err != nil {
			return err
		}
	}
}

func (t *Tunnel) wait(ctx context.Context, news <-chan struct{}) error {
	select {
	case <-news:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

// Dial opens a connection on the session that has the fewest, or, while a
// program that does not read holds it up, on another. It waits for a session
// until ctx ends, or until one that is started on demand cannot be.
func (t *Tunnel) Dial(ctx context.Context) (*Conn, error) {
	t.mu.Lock()
	t.waiting++
	failures := t.failures
	t.mu.Unlock()
	defer t.arrived()
	for {
		t.mu.Lock()
		l, heldUp := t.pick()
		failed := t.failures > failures && t.starting == 0 // at what this dial has waited for
		var c *Conn
		switch {
		case l != nil && !heldUp:
			c = l.reserve()
			t.spread(c)
		case !failed:
			t.addNeeded()
		}
		lastErr, news := t.err, t.news
		t.mu.Unlock()
		switch {
		case c != nil:
			if c.open(ctx) == nil {
				return c, nil
			}
			// The session has just ended: look again when that is known.
		case failed:
			return nil, lastErr
		}
		recheck, stop := context.WithTimeout(ctx, min(cmp.Or(t.Held, heldAfter), heldAfter))
		t.wait(recheck, news)
		stop()
		if err := cmp.Or(context.Cause(t.ctx), context.Cause(ctx)); err != nil {
			if lastErr != nil {
				err = fmt.Errorf("%w: %w", err, lastErr)
			}
			return nil, err
		}
	}
}

// arrived says that a dial no longer waits.
func (t *Tunnel) arrived() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting--; t.waiting == 0 {
		t.abandon()
	}
}

// pick returns the session for the next connection, and whether that is held
// up, as all others are then; nil if none takes another. t.mu is held.
func (t *Tunnel) pick() (best *lane, heldUp bool) {
	fewest := 0
	for _, l := range t.lanes {
		n, room, held := l.load()
		better := best == nil || heldUp && !held || heldUp == held && n < fewest
		if room && better {
			best, fewest, heldUp = l, n, held
		}
	}
	return best, heldUp
}
