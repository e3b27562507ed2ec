package tunnel

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// heldAfter is how long a program may leave its data unread before its session
// counts as blocked. A session has no flow control per connection, so the other
// connections may soon be blocked as well.
const heldAfter = time.Second

// lane is one session that carries connections, either many at a time or one
// after the other.
type lane struct {
	port stream.Port
	born time.Time
	held time.Duration // heldAfter
	wg   sync.WaitGroup

	mu      sync.Mutex
	busy    map[*Conn]bool
	closed  bool
	used    time.Time // when the last connection ended, if there is none now
	closing int       // connections that the next one has to wait for
	freed   func()    // called when a connection has ended
}

func newLane(port stream.Port, held time.Duration, freed func()) *lane {
	return &lane{port: port, born: time.Now(), held: held, busy: make(map[*Conn]bool), used: time.Now(), freed: freed}
}

// load returns the number of connections, whether there is room for another,
// and whether a program that does not read, or a silent agent, blocks them.
func (l *lane) load() (connections int, room, heldUp bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	heldUp = l.port.Stalled() > l.held || l.silent()
	now := time.Now().UnixNano()
	for c := range l.busy {
		since := c.writing.Load()
		heldUp = heldUp || since > 0 && now-since > int64(l.held)
	}
	return len(l.busy), l.port.Multiplexed() || len(l.busy)+l.closing == 0, heldUp
}

// unused reports whether there is no connection, and since when.
func (l *lane) unused() (since time.Duration, yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.used), len(l.busy)+l.closing == 0
}

// reserve reserves room for a connection, which the method open then opens.
func (l *lane) reserve() *Conn {
	c := &Conn{lane: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[c] = true
	return c
}

// open opens the connection. If ctx ends before anything is sent, or opening
// fails, it releases the reserved room.
func (c *Conn) open(ctx context.Context) error {
	l := c.lane
	conn, err := l.port.Open(ctx)
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
	l.closed = true // nothing is added to wg after this
	l.mu.Unlock()
	err := l.port.Close()
	l.wg.Wait()
	return err
}

// Conn is a connection over one of a tunnel's sessions.
type Conn struct {
	net.Conn
	lane    *lane
	once    sync.Once
	writing atomic.Int64 // when the write that is blocked by the program began, in ns; 0 if none is
}

// SessionErr returns why the connection's session has ended, or nil.
func (c *Conn) SessionErr() error { return c.lane.port.Err() }

// Close ends the connection but not the session.
func (c *Conn) Close() error {
	var err error
	c.once.Do(func() {
		l := c.lane
		many := l.port.Multiplexed()
		if many {
			err = c.Conn.Close()
		}
		l.mu.Lock()
		delete(l.busy, c)
		l.used = time.Now()
		if !many && !l.closed {
			l.closing++
			l.wg.Go(func() {
				c.Conn.Close() // no other connection is possible before
				l.mu.Lock()
				l.closing--
				l.mu.Unlock()
				l.freed()
			})
		}
		l.mu.Unlock()
		l.freed()
	})
	return err
}
