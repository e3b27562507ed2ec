package tunnel

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// heldAfter is for how long a program may not read what has come for it before
// its session counts as held up. A session has no flow control by connection, so
// the others may soon wait for it.
const heldAfter = time.Second

// lane is one session that carries connections: many at a time, or one after the
// other.
type lane struct {
	port stream.Port
	born time.Time
	held time.Duration // heldAfter
	wg   sync.WaitGroup

	mu      sync.Mutex
	busy    map[*Conn]bool
	closed  bool
	used    time.Time // when there was a connection last, if there is none
	closing int       // connections that the next one has to wait for
	freed   func()    // told when a connection has ended
}

func newLane(port stream.Port, held time.Duration, freed func()) *lane {
	return &lane{port: port, born: time.Now(), held: held, busy: make(map[*Conn]bool), used: time.Now(), freed: freed}
}

// load returns how many connections there are, whether there is room for
// another, and whether a program that does not read, or a silent agent, holds
// them up.
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

// unused says whether there is no connection, and since when.
func (l *lane) unused() (since time.Duration, yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.used), len(l.busy)+l.closing == 0
}

// reserve takes the place of a connection, which is opened by open.
func (l *lane) reserve() *Conn {
	c := &Conn{lane: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[c] = true
	return c
}

// Open opens the connection unless ctx ends before, where nothing goes out, or
// gives its place back.
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

// Close ends the session and all connections over it.
func (l *lane) close() error {
	l.mu.Lock()
	l.closed = true // behind it nothing is added to wg
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
	writing atomic.Int64 // since when a program has not taken what has come, ns; 0: it has
}

// SessionErr returns why the session has ended by which the connection goes, or
// nil.
func (c *Conn) SessionErr() error { return c.lane.port.Err() }

// Close ends the connection, and leaves the session for the next.
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
				c.Conn.Close() // until then there can be no other
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
