package ssmproto

import (
	"net"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// The other methods of net.Conn.

// LocalAddr returns the local address of the current link, or a placeholder if
// there never was one.
func (c *Conn) LocalAddr() net.Addr { return c.addr((*link.Link).LocalAddr) }

// RemoteAddr returns the service's address: the far side's is not known.
func (c *Conn) RemoteAddr() net.Addr { return c.addr((*link.Link).RemoteAddr) }

func (c *Conn) addr(of func(*link.Link) net.Addr) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return noAddr{}
	}
	return of(c.link)
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
	c.readUntil.Set(t)
	return nil
}

// SetWriteDeadline sets the deadline of current and future calls of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeUntil.Set(t)
	return nil
}
