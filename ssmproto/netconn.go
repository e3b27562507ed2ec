package ssmproto

import (
	"net"
	"sync"
	"time"
)

// The other methods of net.Conn.

// LocalAddr returns the local address of the current link, or a placeholder if
// there never was one.
func (c *Conn) LocalAddr() net.Addr { return c.addr((net.Conn).LocalAddr) }

// RemoteAddr returns the service's address: the far side's is not known.
func (c *Conn) RemoteAddr() net.Addr { return c.addr((net.Conn).RemoteAddr) }

func (c *Conn) addr(of func(net.Conn) net.Addr) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return noAddr{}
	}
	return of(c.link.net)
}

type noAddr struct{}

func (noAddr) Network() string { return "ssm" }
func (noAddr) String() string  { return "ssm" }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of current and future calls of Read.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readUntil.set(t)
	return nil
}

// SetWriteDeadline sets the deadline of current and future calls of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeUntil.set(t)
	return nil
}

// deadline wakes the goroutines that wait on a condition when its time comes.
// The condition's lock guards it.
type deadline struct {
	cond  *sync.Cond
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	d.cond.Broadcast()
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.at = time.Now().Add(wait) // on the monotonic clock, like the timer
		d.timer = time.AfterFunc(wait, func() {
			d.cond.L.Lock()
			defer d.cond.L.Unlock()
			d.cond.Broadcast()
		})
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
