package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// heldAfter is for how long a program may not read what has come for it before
// its session counts as held up. A session has no flow control by connection, so
// the others may soon wait for it.
const heldAfter = time.Second

// lane is one session that carries connections: many, or, with an old agent,
// one after the other.
type lane struct {
	conn *ssmproto.Conn
	born time.Time
	mux  *ssmproto.Mux // nil: one after the other
	held time.Duration // heldAfter
	wg   sync.WaitGroup

	mu      sync.Mutex
	busy    map[*laneConn]bool
	closed  bool
	used    time.Time // when there was a connection last, if there is none
	closing int       // connections of an old agent's that are not over yet
	freed   func()    // told when a connection has ended
}

func newLane(conn *ssmproto.Conn, cfg ssmproto.MuxConfig) *lane {
	l := &lane{conn: conn, born: time.Now(), held: heldAfter, busy: make(map[*laneConn]bool), used: time.Now(), freed: func() {}}
	switch {
	case conn.Multiplexed():
		l.mux = ssmproto.NewMux(conn, cfg)
	case cfg.KeepAlive > 0:
		l.wg.Go(func() { sendKeepAlive(conn, cfg.KeepAlive) })
	}
	return l
}

// sendKeepAlive sends flags of a value that no agent knows, so that all ignore
// it, until conn ends.
func sendKeepAlive(conn *ssmproto.Conn, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			conn.SendFlag(0)
		case <-conn.Done():
			return
		}
	}
}

// load returns how many connections there are, whether there is room for
// another, and whether a program that does not read, or a silent agent, holds
// them up.
func (l *lane) load() (connections int, room, heldUp bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	heldUp = l.mux != nil && l.mux.Stalled() > l.held || l.silent()
	now := time.Now().UnixNano()
	for c := range l.busy {
		since := c.writing.Load()
		heldUp = heldUp || since > 0 && now-since > int64(l.held)
	}
	return len(l.busy), l.mux != nil || len(l.busy)+l.closing == 0, heldUp
}

// unused says whether there is no connection, and since when.
func (l *lane) unused() (since time.Duration, yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.used), len(l.busy)+l.closing == 0
}

// reserve takes the place of a connection, which is opened by open.
func (l *lane) reserve() *laneConn {
	c := &laneConn{lane: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[c] = true
	return c
}

// open opens the connection unless ctx ends before, where nothing goes out, or
// gives its place back.
func (c *laneConn) open(ctx context.Context) error {
	l := c.lane
	if l.mux == nil {
		c.Conn = l.conn
		return nil
	}
	conn, err := l.mux.Open(ctx)
	if err != nil {
		l.mu.Lock()
		delete(l.busy, c)
		l.used = time.Now()
		l.mu.Unlock()
		return err
	}
	c.Conn = conn
	return nil
}

// close ends the session and all connections over it.
func (l *lane) close() error {
	l.mu.Lock()
	l.closed = true // behind it nothing is added to wg
	l.mu.Unlock()
	var err error
	if l.mux != nil {
		err = l.mux.Close()
	} else {
		err = l.conn.Close()
	}
	l.wg.Wait()
	return err
}

// laneConn is a connection over a lane.
type laneConn struct {
	net.Conn
	lane    *lane
	once    sync.Once
	writing atomic.Int64 // since when a program has not taken what has come, ns; 0: it has
}

// Close ends the connection, and leaves the session for the next.
func (c *laneConn) Close() error {
	var err error
	c.once.Do(func() {
		l := c.lane
		if l.mux != nil {
			err = c.Conn.Close()
		}
		l.mu.Lock()
		delete(l.busy, c)
		l.used = time.Now()
		if l.mux == nil && !l.closed {
			l.closing++
			l.wg.Go(func() { l.disconnect() })
		}
		l.mu.Unlock()
		l.freed()
	})
	return err
}

// quiet is how long nothing may come before what an old agent's port has sent
// is over.
const quiet = 200 * time.Millisecond

// disconnect makes an old agent close its connection; it dials again for the
// next. What comes until then belongs to nobody.
func (l *lane) disconnect() {
	l.conn.SendFlag(ssmproto.DisconnectToPort)
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		l.conn.Flush(ctx)
	}()
	var buf [4 << 10]byte
	for over := false; !over; {
		select {
		case <-acked:
			over = true // after one more wait
		default:
		}
		l.conn.SetReadDeadline(time.Now().Add(quiet))
		if n, err := l.conn.Read(buf[:]); n > 0 {
			over = false
		} else if !isTimeout(err) {
			break
		}
	}
	stop()
	<-acked
	l.conn.SetReadDeadline(time.Time{})
	l.mu.Lock()
	l.closing--
	l.mu.Unlock()
	l.freed()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
