package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// dialAddr is an address as it was dialled.
type dialAddr string

func (dialAddr) Network() string  { return "tcp" }
func (a dialAddr) String() string { return string(a) }

// dialedConn is a Dialer's connection: a laneConn as a program may expect one
// of a net.Conn that it knows nothing of. Close and deadlines call off what is
// under way, and what is called afterwards touches nothing.
type dialedConn struct {
	conn   *laneConn
	dialer context.Context // ends when the Dialer is closed
	remote dialAddr

	once   sync.Once
	closed chan struct{}
	using  sync.RWMutex // held for reading by whoever uses conn

	turn       chan struct{} // held by the Write that is under way
	buf        []byte        // what it writes
	writeUntil alarm
}

func newDialedConn(conn *laneConn, dialer context.Context, remote dialAddr) *dialedConn {
	return &dialedConn{conn: conn, dialer: dialer, remote: remote,
		closed: make(chan struct{}), turn: make(chan struct{}, 1), writeUntil: alarm{rings: make(chan struct{})}}
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
		if c.conn.lane.mux == nil {
			n, err = c.conn.Write(p)
		} else {
			n, err = c.write(p)
		}
		c.using.RUnlock()
	}
	return n, c.failed("write", err)
}

// writeSize is how much is copied for one write.
const writeSize = 32 << 10

// write writes to a multiplexed session, where what has been begun cannot be
// called off: it is done with a copy, so that p is the caller's again.
func (c *dialedConn) write(p []byte) (n int, err error) {
	rings := c.writeUntil.channel()
	select {
	case <-rings:
		return 0, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case c.turn <- struct{}{}:
	case <-rings:
		return 0, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, net.ErrClosed
	}
	for n < len(p) && err == nil {
		c.buf = append(c.buf[:0], p[n:min(n+writeSize, len(p))]...)
		var m int
		var failed error
		done := make(chan struct{})
		go func() {
			defer close(done)
			m, failed = c.conn.Write(c.buf)
		}()
		select {
		case <-done:
			n, err = n+m, failed
			continue
		case <-rings:
			err = os.ErrDeadlineExceeded
		case <-c.closed:
			err = net.ErrClosed
		}
		go func() { // it ends with the session at the latest
			<-done
			<-c.turn
		}()
		return n, err
	}
	<-c.turn
	return n, err
}

// Close ends the connection. It does not wait for the far side to learn of it.
func (c *dialedConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = nil
		close(c.closed)
		c.conn.SetDeadline(past)
		go func() { // it ends with the session at the latest
			c.using.Lock()
			c.conn.SetDeadline(time.Time{}) // an old agent's next connection has the same
			c.using.Unlock()
			c.conn.Close()
		}()
	})
	return c.failed("close", err)
}

func (c *dialedConn) SetDeadline(t time.Time) error {
	return c.set(func() {
		c.conn.SetDeadline(t)
		c.writeUntil.set(t)
	})
}

func (c *dialedConn) SetReadDeadline(t time.Time) error {
	return c.set(func() { c.conn.SetReadDeadline(t) })
}

func (c *dialedConn) SetWriteDeadline(t time.Time) error {
	return c.set(func() {
		c.conn.SetWriteDeadline(t)
		c.writeUntil.set(t)
	})
}

func (c *dialedConn) set(deadline func()) error {
	if err := c.use(); err != nil {
		return c.failed("set", err)
	}
	defer c.using.RUnlock()
	deadline()
	if c.isClosed() { // Close calls off what is under way
		c.conn.SetDeadline(past)
	}
	return nil
}

// past is a deadline for what is to end now.
var past = time.Unix(1, 0)

// use begins to use conn, unless it is closed.
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

// failed puts an error as those of package net are.
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
	case errors.Is(err, ErrRefused):
		err = refusedError{err}
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: c.remote, Err: err}
}

// alarm is a deadline to wait for beside other things.
type alarm struct {
	mu    sync.Mutex
	timer *time.Timer
	rings chan struct{} // closed when the time has come
}

func (a *alarm) channel() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rings
}

// set makes a ring at t, or never. Who waits already learns of it.
func (a *alarm) set(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil && !a.timer.Stop() {
		<-a.rings // closed by the timer, or just about to be
	}
	a.timer = nil
	select {
	case <-a.rings:
		a.rings = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		rings := a.rings
		a.timer = time.AfterFunc(wait, func() { close(rings) })
	} else {
		close(a.rings)
	}
}
