package proxy

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Sessions that a tunnel starts when it has need of them.

const (
	// idleTunnel is how long a session that was started on demand stays without
	// a connection: programs come back to where they were.
	idleTunnel = 2 * time.Minute

	// extraIdle is the same for one that was added to those that are kept up.
	extraIdle = 30 * time.Second
)

// addNeeded starts a session for a dial that has none to go by. t.mu is held.
func (t *tunnel) addNeeded() {
	old := len(t.lanes) > 0 && !t.lanes[0].port.Multiplexed()
	switch {
	case len(t.lanes)+t.starting >= maxSessions:
		return
	case t.demand == 0 && (len(t.lanes) == 0 || old && !t.silent()):
		return // one is coming, or connections wait in line
	case t.demand == 0 && time.Now().Before(t.retryAt):
		return // it has failed just now
	case !old && t.starting > 0:
		return // that is for all
	case old && t.starting+t.closing() >= t.waiting:
		return // there will be one for each
	}
	if t.demand == 0 {
		t.log("a program does not read, or the agent is silent; starting another session")
		t.addExtra()
		return
	}
	if t.starting == 0 {
		t.needed, t.abandon = context.WithCancel(t.ctx)
	}
	t.add(t.needed, t.idleTime())
}

// idleTime is how long a session that is started on demand stays without a
// connection.
func (t *tunnel) idleTime() time.Duration { return cmp.Or(t.idle, idleTunnel) }

// addExtra starts a session beside those that are there. t.mu is held.
func (t *tunnel) addExtra() { t.add(t.ctx, cmp.Or(t.idle, extraIdle)) }

// spread starts a session for connections to come if c has to share its own
// before there are as many sessions as there may be. t.mu is held.
func (t *tunnel) spread(c *laneConn) {
	n, _, _ := c.lane.load()
	if n > 1 && t.starting == 0 && len(t.lanes) < min(t.demand, maxSessions) {
		t.add(t.ctx, t.idleTime())
	}
}

// closing returns how many sessions will soon have room. t.mu is held.
func (t *tunnel) closing() (n int) {
	for _, l := range t.lanes {
		if connections, room, _ := l.load(); connections == 0 && !room {
			n++
		}
	}
	return n
}

// add starts a session under ctx that stays until it has been idle. t.mu is
// held.
func (t *tunnel) add(ctx context.Context, idle time.Duration) {
	switch {
	case t.ctx.Err() != nil:
		return // close may have waited for all already
	case !t.budget.take():
		if len(t.lanes)+t.starting == 0 {
			t.failures++
			t.err = errManySessions
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
				if t.demand > 0 {
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
			t.log("a session could not be started", "err", err)
			return
		case first:
			t.tell(tunnelUp, nil)
		}
		ended := t.whileUsed(l, idle)
		last := t.forget(l)
		err = l.port.Err()
		l.close()
		t.log("session ended", "err", err)
		switch {
		case !ended || t.ctx.Err() != nil:
		case stream.Forbidden(err):
			t.refused(err)
		case last:
			t.tell(tunnelDown, err)
		}
	})
}

// whileUsed waits until l has ended, which it says, or has had no connection
// for a while, and is off the list.
func (t *tunnel) whileUsed(l *lane, idle time.Duration) (ended bool) {
	for wait := idle; wait > 0; wait = t.retire(l, idle) {
		if t.during(l, time.After(wait)) {
			return t.ctx.Err() == nil
		}
	}
	return false
}

// retire takes l off the list if it has had no connection for as long as idle,
// so that it gets none any more. Otherwise it returns when to look again.
func (t *tunnel) retire(l *lane, idle time.Duration) (again time.Duration) {
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

// demandTunnels are tunnels that are started on demand, one to each destination
// in use. After run all methods may be called concurrently.
type demandTunnels[K comparable] struct {
	ctx     context.Context
	prepare func(K) *tunnel // one with a demand
	budget  *budget         // of all tunnels together

	mu      sync.Mutex
	all     map[K]*demandTunnel
	leaving sync.WaitGroup // tunnels that are closed for others
}

// demandTunnel is a tunnel and how many dials go by it.
type demandTunnel struct {
	*tunnel
	dials int
}

// run makes d usable until ctx ends; close must be called.
func (d *demandTunnels[K]) run(ctx context.Context, prepare func(K) *tunnel) {
	d.ctx, d.prepare, d.all = ctx, prepare, make(map[K]*demandTunnel)
}

// dial opens a connection to a destination.
func (d *demandTunnels[K]) dial(ctx context.Context, to K) (*laneConn, error) {
	d.mu.Lock()
	if d.ctx.Err() != nil {
		d.mu.Unlock()
		return nil, context.Cause(d.ctx)
	}
	t := d.all[to]
	if t == nil {
		t = &demandTunnel{tunnel: d.prepare(to)}
		t.vacant = func() { d.drop(to, t) }
		t.run(d.ctx, 0)
		d.all[to] = t
	}
	t.dials++
	d.mu.Unlock()
	var conn *laneConn
	err := d.makeRoom(t)
	if err == nil {
		conn, err = t.dial(ctx)
	}
	d.mu.Lock()
	t.dials--
	d.mu.Unlock()
	d.drop(to, t)
	return conn, err
}

// makeRoom ends tunnels that have no connection, the one that was used longest
// ago first, until there may be a session for t.
func (d *demandTunnels[K]) makeRoom(t *demandTunnel) error {
	for d.budget.full() && t.vacated() {
		idle := d.dismiss()
		if idle == nil {
			return errManySessions
		}
		idle.close()
		d.leaving.Done()
	}
	return nil
}

// dismiss takes the tunnel that has had no connection for longest off the list,
// and returns it, if there is one. The caller closes it and says leaving.Done.
func (d *demandTunnels[K]) dismiss() (idle *demandTunnel) {
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

// unused says whether the tunnel has sessions and none has a connection, and
// since when.
func (t *tunnel) unused() (since time.Duration, yes bool) {
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

// drop forgets t, which leads to a destination, if it has no session.
func (d *demandTunnels[K]) drop(to K, t *demandTunnel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[to] == t && t.dials == 0 && t.vacated() {
		delete(d.all, to)
		t.stop(errTunnelClosed)
	}
}

// close ends all sessions, and returns when they are gone. What run was given
// has ended.
func (d *demandTunnels[K]) close() {
	d.mu.Lock()
	var all sync.WaitGroup
	for _, t := range d.all {
		all.Go(t.close)
	}
	d.mu.Unlock()
	all.Wait()
	d.leaving.Wait()
}

// vacated says that no session is left of those that were added.
func (t *tunnel) vacated() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.added == 0
}
