package tunnel

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Sessions that a tunnel starts on demand.

const (
	// idleTunnel is how long a session that was started on demand stays up
	// without a connection, since programs often reconnect.
	idleTunnel = 2 * time.Minute

	// extraIdle is the same for a session added to the permanent ones.
	extraIdle = 30 * time.Second
)

// addNeeded starts a session for a dial that has none to use. t.mu is held.
func (t *Tunnel) addNeeded() {
	old := len(t.lanes) > 0 && !t.lanes[0].port.Multiplexed()
	switch {
	case len(t.lanes)+t.starting >= maxSessions:
		return
	case t.Demand == 0 && (len(t.lanes) == 0 || old && !t.silent()):
		return // one is being started, or connections queue
	case t.Demand == 0 && time.Now().Before(t.retryAt):
		return // an attempt has just failed
	case !old && t.starting > 0:
		return // that session serves all dials
	case old && t.starting+t.closing() >= t.waiting:
		return // there will be one for each
	}
	if t.Demand == 0 {
		t.Log("a program does not read, or the agent is silent; starting another session")
		t.addExtra()
		return
	}
	if t.starting == 0 {
		t.needed, t.abandon = context.WithCancel(t.ctx)
	}
	t.add(t.needed, t.idleTime())
}

// idleTime returns how long a session started on demand stays up without a
// connection.
func (t *Tunnel) idleTime() time.Duration { return cmp.Or(t.Idle, idleTunnel) }

// addExtra starts an additional session. t.mu is held.
func (t *Tunnel) addExtra() { t.add(t.ctx, cmp.Or(t.Idle, extraIdle)) }

// spread starts a session for future connections if c has to share its own and
// the tunnel may have more sessions. t.mu is held.
func (t *Tunnel) spread(c *Conn) {
	n, _, _ := c.lane.load()
	if n > 1 && t.starting == 0 && len(t.lanes) < min(t.Demand, maxSessions) {
		t.add(t.ctx, t.idleTime())
	}
}

// closing returns how many sessions will soon have room. t.mu is held.
func (t *Tunnel) closing() (n int) {
	for _, l := range t.lanes {
		if connections, room, _ := l.load(); connections == 0 && !room {
			n++
		}
	}
	return n
}

// add starts a session under ctx that ends when it has been idle. t.mu is
// held.
func (t *Tunnel) add(ctx context.Context, idle time.Duration) {
	switch {
	case t.ctx.Err() != nil:
		return // Close may have stopped waiting for sessions
	case !t.budget.take():
		if len(t.lanes)+t.starting == 0 {
			t.failures++
			t.err = ErrManySessions
		}
		return
	}
	t.starting++
	t.added++
	t.wg.Go(func() {
		defer func() {
			t.update(func() { t.added-- })
			t.budget.give()
			if t.vacant != nil {
				t.vacant()
			}
		}()
		l, err := t.start(ctx)
		first, abandoned := false, false
		t.update(func() {
			t.starting--
			switch {
			case err == nil:
				t.err, t.retryWait = nil, 0
				t.lanes = append(t.lanes, l)
				first = len(t.lanes) == 1
			case ctx.Err() != nil:
				abandoned = true
			default:
				if t.Demand > 0 {
					t.failures++
				}
				t.err = err
				t.retryWait = min(max(2*t.retryWait, firstRestart), lastRestart)
				t.retryAt = time.Now().Add(t.retryWait)
			}
		})
		switch {
		case abandoned:
			return
		case err != nil:
			t.Log("a session could not be started", "err", err)
			return
		case first:
			t.tell(Up, nil)
		}
		ended := t.whileUsed(l, idle)
		last := t.forget(l)
		err = l.port.Err()
		l.close()
		t.Log("session ended", "err", err)
		switch {
		case !ended || t.ctx.Err() != nil:
		case stream.Forbidden(err):
			t.refused(err)
		case last:
			t.tell(Down, err)
		}
	})
}

// whileUsed waits until l has ended, and then returns true, or until l has been
// idle and is off the list.
func (t *Tunnel) whileUsed(l *lane, idle time.Duration) (ended bool) {
	for wait := idle; wait > 0; wait = t.retire(l, idle) {
		if t.during(l, time.After(wait)) {
			return t.ctx.Err() == nil
		}
	}
	return false
}

// retire removes l from the list if it has had no connection for the time idle,
// so that it gets no more. Otherwise it returns how long to wait before
// checking again.
func (t *Tunnel) retire(l *lane, idle time.Duration) (again time.Duration) {
	t.update(func() {
		unused, yes := l.unused()
		switch {
		case !yes:
			again = idle
		case unused < idle:
			again = idle - unused
		default:
			t.remove(l)
		}
	})
	return again
}

// OnDemand manages tunnels that start their sessions on demand, one tunnel for
// each destination in use. After Run, all methods may be called concurrently.
type OnDemand[K comparable] struct {
	// Most is the maximum number of sessions in all tunnels together; 0 means
	// no limit. To make room, unused sessions are ended.
	Most int64

	ctx     context.Context
	prepare func(K) *Tunnel
	budget  *budget // nil means no limit

	mu      sync.Mutex
	all     map[K]*demandTunnel
	leaving sync.WaitGroup // tunnels being closed to make room
}

// demandTunnel is a tunnel and the number of dials that use it.
type demandTunnel struct {
	*Tunnel
	dials int
}

// Run makes d usable until ctx ends; Close must be called. prepare returns a
// tunnel to a destination that has a Demand and is not running.
func (d *OnDemand[K]) Run(ctx context.Context, prepare func(K) *Tunnel) {
	d.ctx, d.prepare, d.all = ctx, prepare, make(map[K]*demandTunnel)
	if d.Most > 0 {
		d.budget = &budget{most: d.Most}
	}
}

// Dial opens a connection to a destination as [Tunnel.Dial] does. It fails with
// [ErrManySessions] if that would need more than Most sessions.
func (d *OnDemand[K]) Dial(ctx context.Context, to K) (*Conn, error) {
	d.mu.Lock()
	if d.ctx.Err() != nil {
		d.mu.Unlock()
		return nil, context.Cause(d.ctx)
	}
	t := d.all[to]
	if t == nil {
		t = &demandTunnel{Tunnel: d.prepare(to)}
		t.budget = d.budget
		t.vacant = func() { d.drop(to, t) }
		t.Run(d.ctx, 0)
		d.all[to] = t
	}
	t.dials++
	d.mu.Unlock()
	var conn *Conn
	err := d.makeRoom(t)
	if err == nil {
		conn, err = t.Dial(ctx)
	}
	d.mu.Lock()
	t.dials--
	d.mu.Unlock()
	d.drop(to, t)
	return conn, err
}

// makeRoom ends tunnels without connections, the least recently used first,
// until the budget allows a session for t.
func (d *OnDemand[K]) makeRoom(t *demandTunnel) error {
	for d.budget.full() && t.vacated() {
		idle := d.dismiss()
		if idle == nil {
			return ErrManySessions
		}
		idle.Close()
		d.leaving.Done()
	}
	return nil
}

// dismiss removes the tunnel that has been idle longest from the list and
// returns it, or nil. The caller closes it and calls leaving.Done.
func (d *OnDemand[K]) dismiss() (idle *demandTunnel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var to K
	longest := time.Duration(-1)
	for k, t := range d.all {
		if since, yes := t.unused(); yes && t.dials == 0 && since > longest {
			to, idle, longest = k, t, since
		}
	}
	if idle == nil || d.ctx.Err() != nil {
		return nil
	}
	delete(d.all, to)
	d.leaving.Add(1)
	return idle
}

// unused reports whether the tunnel has sessions but no connection, and since
// when.
func (t *Tunnel) unused() (since time.Duration, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lanes) == 0 || t.starting > 0 {
		return 0, false
	}
	for i, l := range t.lanes {
		last, yes := l.unused()
		if !yes {
			return 0, false
		}
		if i == 0 || last < since {
			since = last
		}
	}
	return since, true
}

// drop removes t, the tunnel to a destination, if it has no session.
func (d *OnDemand[K]) drop(to K, t *demandTunnel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[to] == t && t.dials == 0 && t.vacated() {
		delete(d.all, to)
		t.stop(errTunnelClosed)
	}
}

// Close ends all sessions and waits until they are gone. The context given to
// Run must have ended.
func (d *OnDemand[K]) Close() {
	d.mu.Lock()
	var all sync.WaitGroup
	for _, t := range d.all {
		all.Go(t.Close)
	}
	d.mu.Unlock()
	all.Wait()
	d.leaving.Wait()
}

// vacated reports whether none of the added sessions is left.
func (t *Tunnel) vacated() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.added == 0
}
