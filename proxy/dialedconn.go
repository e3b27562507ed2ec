package proxy

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// dialAddr is an address in the form in which it was dialled.
type dialAddr string

func (dialAddr) Network() string  { return "tcp" }
func (a dialAddr) String() string { return string(a) }

// dialedConn is a Dialer's connection: a tunnel's connection that behaves as
// programs expect of any net.Conn. Close and deadlines interrupt calls in
// progress, and calls after Close have no effect.
type dialedConn struct {
	conn   net.Conn
	dialer context.Context // ends when the Dialer is closed
	remote dialAddr

	once   sync.Once
	closed chan struct{}
	using  sync.RWMutex // read-locked while conn is in use
}

func newDialedConn(conn net.Conn, dialer context.Context, remote dialAddr) *dialedConn {
	return &dialedConn{conn: conn, dialer: dialer, remote: remote, closed: make(chan struct{})}
}

func (c *dialedConn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (c *dialedConn) RemoteAddr() net.Addr { return c.remote }

func (c *dialedConn) Read(p []byte) (n int, err error) {
	if err = c.use(); err == nil {
		n, err = c.conn.Read(p)
		c.using.RUnlock()
	}
	return n, c.failed("read", err)
}

func (c *dialedConn) Write(p []byte) (n int, err error) {
	if err = c.use(); err == nil {
		n, err = c.conn.Write(p)
		c.using.RUnlock()
	}
	return n, c.failed("write", err)
}

// Close ends the connection. It does not wait for the far side to be told.
func (c *dialedConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = nil
		close(c.closed)
		c.conn.SetDeadline(past)
		go func() { // does not block for long: calls in progress have been interrupted
			c.using.Lock()
			c.conn.SetDeadline(time.Time{}) // an old agent's next connection shares it
			c.using.Unlock()
			c.conn.Close()
		}()
	})
	return c.failed("close", err)
}

func (c *dialedConn) SetDeadline(t time.Time) error {
	return c.set(func() { c.conn.SetDeadline(t) })
}

func (c *dialedConn) SetReadDeadline(t time.Time) error {
	return c.set(func() { c.conn.SetReadDeadline(t) })
}

func (c *dialedConn) SetWriteDeadline(t time.Time) error {
	return c.set(func() { c.conn.SetWriteDeadline(t) })
}

func (c *dialedConn) set(deadline func()) error {
	if err := c.use(); err != nil {
		return c.failed("set", err)
	}
	defer c.using.RUnlock()
	deadline()
	if c.isClosed() { // Close interrupts calls in progress
		c.conn.SetDeadline(past)
	}
	return nil
}

// past is a deadline that makes calls return at once.
var past = time.Unix(1, 0)

// use begins a use of conn, unless it is closed.
func (c *dialedConn) use() error {
	c.using.RLock()
	if c.isClosed() {
		c.using.RUnlock()
		return net.ErrClosed
	}
	return nil
}

func (c *dialedConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return c.dialer.Err() != nil
	}
}

// failed wraps an error as package net does.
func (c *dialedConn) failed(op string, err error) error {
	timeout, ok := err.(net.Error)
	switch {
	case err == nil:
		return nil
	case c.isClosed():
		err = net.ErrClosed
	case err == io.EOF:
		return err
	case ok && timeout.Timeout():
		err = os.ErrDeadlineExceeded
	case stream.Refused(err):
		err = refusedError{err}
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: c.remote, Err: err}
}
