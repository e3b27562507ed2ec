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
	// Delays before restarting a session that has ended: none the first time,
	// then firstRestart, doubling up to lastRestart, until a session has lasted
	// for steadyAfter.
	firstRestart = time.Second
	lastRestart  = 30 * time.Second
	steadyAfter  = 30 * time.Second

	// maxSessions is the maximum number of sessions of a tunnel.
	maxSessions = 16
)

// errTunnelClosed means that the tunnel has been closed.
var errTunnelClosed = errors.New("the forward has ended")

// Tunnel leads to one destination and spreads connections over its sessions.
// It either keeps a fixed number of sessions up, restarting those that end,
// or starts sessions on demand and ends them when they have been idle. All
// methods may be called concurrently.
type Tunnel struct {
	// Open starts a session and returns its stream, which the tunnel closes. It
	// may be called concurrently.
	Open func(context.Context) (stream.Port, error)

	// Log logs events. It has the signature of slog.Logger's Info.
	Log func(msg string, args ...any)

	// Demand, if not 0, makes the tunnel start sessions on demand and is the
	// number of sessions to spread connections over, at most 16.
	Demand int

	// Idle is how long a session that was started on demand, or added to the
	// permanent ones, stays up without a connection. 0 means two minutes, or
	// 30 seconds for an added session.
	Idle time.Duration

	// Held is how long a program may leave its data unread before new
	// connections use another session; 0 means a second.
	Held time.Duration

	// Changed, if not nil, is called when the first session is up, when the
	// last one has ended early, and when another cannot be started, unless a
	// dial that asked for it returns the error. It must not call the tunnel.
	Changed func(State, error)

	// Replaced, if not nil, is called when a session is given up in favor of
	// another because its agent no longer answers. It must not call the tunnel.
	Replaced func()

	budget *budget // of on-demand sessions, shared with other tunnels

	// vacant, if not nil, is called when a session that was started on demand
	// has ended, or could not be started.
	vacant func()

	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	lanes    []*lane
	starting int           // sessions beyond the permanent ones
	added    int           // sessions beyond the permanent ones that have not ended
	waiting  int           // dials
	failures int           // to start sessions on demand
	err      error         // of the last attempt to start a session; nil if it succeeded
	news     chan struct{} // closed when any of this changes

	// No additional session is tried before retryAt; the last delay was
	// retryWait.
	retryAt   time.Time
	retryWait time.Duration

	// needed is the context of sessions that dials are waiting for; abandon
	// cancels it when no dial is waiting any more.
	needed  context.Context
	abandon context.CancelFunc
}

// State is a change in a tunnel's state; see Tunnel.Changed.
type State int

const (
	Up     State = iota // there is a session
	Down                // the last session has ended
	Failed              // a session could not be started
)

// Run starts the tunnel with n permanent sessions. The tunnel ends with ctx;
// Close must be called nevertheless.
func (t *Tunnel) Run(ctx context.Context, n int) {
	t.ctx, t.stop = context.WithCancelCause(ctx)
	t.news = make(chan struct{})
	t.abandon = func() {}
	for range min(n, maxSessions) {
		t.wg.Go(t.keep)
	}
}

// Close ends all sessions and waits until they are gone.
func (t *Tunnel) Close() {
	t.mu.Lock()
	t.stop(errTunnelClosed) // no session is added after this
	t.mu.Unlock()
	t.wg.Wait()
}

// keep keeps one session up, starting another whenever it ends.
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

// once starts a session and waits for its end. It reports whether the session
// could be started.
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

// refused ends the tunnel permanently, since another session would be refused
// as well. Dials fail with err.
func (t *Tunnel) refused(err error) {
	t.tell(Failed, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop(err) // no session is added after this
}

func (t *Tunnel) start(ctx context.Context) (*lane, error) {
	port, err := t.Open(ctx)
	if err != nil {
		return nil, err
	}
	return newLane(port, cmp.Or(t.Held, heldAfter), func() { t.update(func() {}) }), nil
}

// forget removes l from the list and reports whether it was the last.
func (t *Tunnel) forget(l *lane) (last bool) {
	t.update(func() { last = t.remove(l) && len(t.lanes) == 0 })
	return last
}

// remove removes l from the list if it is there. t.mu is held.
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

// update changes the tunnel's state and wakes everything that waits for a
// change.
func (t *Tunnel) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.news)
	t.news = make(chan struct{})
}

// Ready waits until there is a session. If the first attempt to start one
// fails, it returns the error.
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

// Dial opens a connection on the session with the fewest connections or, while
// a program that does not read blocks that session, on another. It waits for a
// session until ctx ends or until starting one on demand fails.
func (t *Tunnel) Dial(ctx context.Context) (*Conn, error) {
	t.mu.Lock()
	t.waiting++
	failures := t.failures
	t.mu.Unlock()
	defer t.arrived()
	for {
		t.mu.Lock()
		l, heldUp := t.pick()
		failed := t.failures > failures && t.starting == 0 // of the start that this dial has waited for
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
			// The session has just ended: look again once the list shows it.
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

// arrived notes that a dial is no longer waiting.
func (t *Tunnel) arrived() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting--; t.waiting == 0 {
		t.abandon()
	}
}

// pick returns the session for the next connection, or nil if none has room.
// heldUp reports that it is blocked, as all others then are. t.mu is held.
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
