package mux

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/deadline"
)

// conn is one of a Mux's connections. The Mux's lock guards it. It has no
// CloseWrite, as the protocol has none.
type conn struct {
	mux *Mux
	id  uint32

	readable  sync.Cond // data, an end or a deadline
	readUntil deadline.Deadline
	in        chunks
	began     bool  // data has been received
	fin       bool  // the far side has ended the connection
	refused   error // the agent could not make it

	writable   sync.Cond // something has been sent, an end or a deadline
	writeUntil deadline.Deadline
	writing    bool   // a Write is under way
	out        []byte // the rest of its data
	syn        bool   // a SYN is to be sent
	finish     bool   // a FIN is to be sent
	queued     bool   // the connection is in the Mux's ready list
	sending    bool   // a frame of it is being sent

	closed bool
}

func newConn(m *Mux, id uint32) *conn {
	c := &conn{mux: m, id: id}
	c.readable.L, c.writable.L = &m.mu, &m.mu
	c.readUntil.Cond, c.writeUntil.Cond = &c.readable, &c.writable
	return c
}

// Read implements net.Conn. Data received before an end is delivered first.
func (c *conn) Read(p []byte) (int, error) {
	m := c.mux
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.readUntil.Passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case c.in.n > 0:
			n := c.in.read(p)
			m.read(n)
			return n, nil
		case c.refused != nil:
			return 0, c.refused
		case c.fin:
			return 0, io.EOF
		case m.err != nil:
			return 0, m.err
		}
		c.readable.Wait()
	}
}

// Write implements net.Conn. It returns when the stream has accepted p. After an
// error nothing more of p is sent.
func (c *conn) Write(p []byte) (int, error) {
	c.mux.mu.Lock()
	defer c.mux.mu.Unlock()
	for c.writing {
		if err := c.writeError(); err != nil {
			return 0, err
		}
		c.writable.Wait()
	}
	if err := c.writeError(); err != nil || len(p) == 0 {
		return 0, err
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.writable.Broadcast()
	}()
	c.out = p
	c.enqueue()
	for len(c.out) > 0 || c.sending {
		if err := c.writeError(); err != nil {
			n := len(p) - len(c.out)
			c.out = nil
			return n, err
		}
		c.writable.Wait()
	}
	return len(p), nil
}

func (c *conn) writeError() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.mux.sendErr != nil:
		return c.mux.sendErr
	case c.writeUntil.Passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close implements net.Conn. It does not block: the FIN is sent when it is the
// connection's turn.
func (c *conn) Close() error {
	c.mux.mu.Lock()
	defer c.mux.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.close()
	return nil
}

func (c *conn) close() {
	c.closed = true
	delete(c.mux.conns, c.id)
	c.mux.read(c.in.n)
	c.in, c.out = chunks{}, nil
	if c.syn {
		c.syn = false // the agent never learns of it
	} else if c.mux.sendErr == nil {
		c.finish = true
		c.enqueue()
	}
	c.readUntil.Set(time.Time{}) // wakes readers
	c.writeUntil.Set(time.Time{})
}

// deliver buffers received data.
func (c *conn) deliver(p []byte) {
	if c.closed || c.fin {
		return // closed while waiting for room, or a violation of the protocol
	}
	c.began = true
	c.in.write(p)
	c.mux.waiting += len(p)
	c.readable.Broadcast()
}

// ended records that the far side has ended the connection. When a connection
// is refused, the agent's report does not say which one, but the next one that
// it ends is it.
func (c *conn) ended() {
	if !c.fin && !c.began {
		c.refused = c.mux.stream.Refusal()
	}
	c.fin = true
	c.readable.Broadcast()
}

// enqueue puts the connection on the Mux's ready list.
func (c *conn) enqueue() {
	if !c.queued {
		c.queued = true
		c.mux.ready = append(c.mux.ready, c)
		c.mux.sendable.Signal()
	}
}

// frame appends the connection's next frame to b, if there is one, and queues
// the connection again if there are more.
func (c *conn) frame(b []byte) []byte {
	c.queued = false
	switch {
	case c.syn:
		b, c.syn = appendFrame(b, syn, c.id, nil), false
	case len(c.out) > 0:
		n := min(len(c.out), maxData)
		b = appendFrame(b, psh, c.id, c.out[:n])
		c.out = c.out[n:]
	case c.finish:
		b, c.finish = appendFrame(b, fin, c.id, nil), false
	default:
		return b
	}
	c.sending = true
	if len(c.out) > 0 || c.finish {
		c.enqueue()
	}
	return b
}

// LocalAddr returns the stream's local address.
func (c *conn) LocalAddr() net.Addr { return c.mux.stream.LocalAddr() }

// RemoteAddr returns the stream's: the far side's own is not known.
func (c *conn) RemoteAddr() net.Addr { return c.mux.stream.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	return c.set(func() {
		c.readUntil.Set(t)
		c.writeUntil.Set(t)
	})
}

// SetReadDeadline sets the deadline of current and future calls of Read.
func (c *conn) SetReadDeadline(t time.Time) error {
	return c.set(func() { c.readUntil.Set(t) })
}

// SetWriteDeadline sets the deadline of current and future calls of Write.
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.set(func() { c.writeUntil.Set(t) })
}

func (c *conn) set(deadline func()) error {
	c.mux.mu.Lock()
	defer c.mux.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	deadline()
	return nil
}
