package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
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

// tunnel leads to one destination. It keeps a number of sessions up, spreads
// connections over them, and starts those again that end. All methods may be
// called concurrently.
type tunnel struct {
	open      func(context.Context) (*ssmproto.Conn, error) // a session
	keepAlive time.Duration
	log       func(msg string, args ...any)

	// changed, if not nil, is told when the first session is up, when the last
	// one is gone, and when another cannot be started. It must not call the
	// tunnel.
	changed func(tunnelState, error)

	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	lanes []*lane
	extra int           // sessions beyond those that are kept up
	err   error         // why no session could be started last; nil since one was
	news  chan struct{} // closed when any of this changes
}

// tunnelState is what a tunnel's owner wants to know.
type tunnelState int

const (
	tunnelUp tunnelState = iota
	tunnelDown
	tunnelFailed // to start a session
)

// run starts the tunnel with n sessions. ctx bounds its life; close must be
// called.
func (t *tunnel) run(ctx context.Context, n int) {
	t.ctx, t.stop = context.WithCancelCause(ctx)
	t.news = make(chan struct{})
	for range min(n, maxSessions) {
		t.wg.Go(t.keep)
	}
}

// close ends all sessions, and returns when they are gone.
func (t *tunnel) close() {
	t.stop(errTunnelClosed)
	t.wg.Wait()
}

// keep has one session, and another when that has ended.
func (t *tunnel) keep() {
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
func (t *tunnel) once() bool {
	l, err := t.start()
	if err != nil {
		if t.ctx.Err() == nil {
			t.update(func() { t.err = err })
			t.tell(tunnelFailed, err)
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
		t.tell(tunnelUp, nil)
	}
	select {
	case <-l.conn.Done():
	case <-t.ctx.Done():
	}
	last := t.forget(l)
	err = l.conn.Err()
	l.close()
	t.log("session ended", "err", err)
	if last && t.ctx.Err() == nil {
		t.tell(tunnelDown, err)
	}
	return true
}

func (t *tunnel) start() (*lane, error) {
	conn, err := t.open(t.ctx)
	if err != nil {
		return nil, err
	}
	l, err := newLane(conn, t.keepAlive)
	if err != nil {
		conn.Close()
		return nil, err
	}
	l.freed = func() { t.update(func() {}) }
	return l, nil
}

// forget takes l off the list, and says whether none is left.
func (t *tunnel) forget(l *lane) (last bool) {
	t.update(func() {
		for i := range t.lanes {
			if t.lanes[i] == l {
				t.lanes = append(t.lanes[:i], t.lanes[i+1:]...)
				last = len(t.lanes) == 0
				return
			}
		}
	})
	return last
}

func (t *tunnel) tell(s tunnelState, err error) {
	if t.changed != nil {
		t.changed(s, err)
	}
}

// update changes the tunnel's state and wakes those who wait for a change.
func (t *tunnel) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.news)
	t.news = make(chan struct{})
}

// ready waits until there is a session, or returns why the first attempt to
// start one failed.
func (t *tunnel) ready(ctx context.Context) error {
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

// up says whether there is a session.
func (t *tunnel) up() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lanes) > 0
}

func (t *tunnel) wait(ctx context.Context, news <-chan struct{}) error {
	select {
	case <-news:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

// dial opens a connection on the session that has the fewest, or, while a
// program that does not read holds it up, on another. It waits for a session
// until ctx ends.
func (t *tunnel) dial(ctx context.Context) (net.Conn, error) {
	for {
		t.mu.Lock()
		l, heldUp := t.pick()
		var c *laneConn
		if l == nil || heldUp {
			t.addExtra()
		} else {
			c = l.reserve()
		}
		lastErr, news := t.err, t.news
		t.mu.Unlock()
		if c != nil {
			if err := c.open(); err == nil {
				return c, nil
			}
			// The session has just ended: look again when that is known.
		}
		recheck, stop := context.WithTimeout(ctx, heldAfter)
		err := t.wait(recheck, news)
		stop()
		if ctx.Err() != nil || t.ctx.Err() != nil {
			if lastErr != nil {
				err = fmt.Errorf("%w: %w", err, lastErr)
			}
			return nil, err
		}
	}
}

// pick returns the session for the next connection, and whether that is held
// up, as all others are then; nil if none takes another. t.mu is held.
func (t *tunnel) pick() (best *lane, heldUp bool) {
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

// addExtra starts a session for as long as it is needed: until it has had no
// connection for a while. t.mu is held.
func (t *tunnel) addExtra() {
	if len(t.lanes) == 0 || t.extra > 0 || len(t.lanes) >= maxSessions {
		return // one is coming
	}
	if t.lanes[0].mux == nil {
		return // with an old agent connections wait in line
	}
	t.extra++
	t.log("a program does not read; starting another session")
	t.wg.Go(func() {
		l, err := t.start()
		t.update(func() {
			t.extra--
			if err == nil {
				t.lanes = append(t.lanes, l)
			}
		})
		if err != nil {
			t.log("another session could not be started", "err", err)
			return
		}
		t.whileUsed(l)
		t.forget(l)
		l.close()
	})
}

// extraIdle is how long a session that was added stays without a connection.
const extraIdle = 30 * time.Second

// whileUsed waits until l has ended or has had nothing to do for a while.
func (t *tunnel) whileUsed(l *lane) {
	idle := time.NewTimer(extraIdle)
	defer idle.Stop()
	for {
		t.mu.Lock()
		news := t.news
		t.mu.Unlock()
		if n, _, _ := l.load(); n > 0 {
			idle.Reset(extraIdle)
		}
		select {
		case <-news:
		case <-idle.C:
			return
		case <-l.conn.Done():
			return
		case <-t.ctx.Done():
			return
		}
	}
}
