package ssmproto

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// muxStream is one of a Mux's connections. The Mux's lock guards it. It has no
// CloseWrite, as the protocol has none.
type muxStream struct {
	mux *Mux
	id  uint32

	readable  sync.Cond // data, an end or a deadline
	readUntil deadline
	in        chunks
	began     bool // data has been received
	fin       bool // the far side has ended the connection
	refused   bool // the agent could not make it

	writable   sync.Cond // something has been sent, an end or a deadline
	writeUntil deadline
	writing    bool   // a Write is under way
	out        []byte // the rest of its data
	syn        bool   // a SYN is to be sent
	finish     bool   // a FIN is to be sent
	queued     bool   // the connection is in the Mux's ready list
	sending    bool   // a frame of it is being sent

	closed bool
}

func newMuxStream(m *Mux, id uint32) *muxStream {
	s := &muxStream{mux: m, id: id}
	s.readable.L, s.writable.L = &m.mu, &m.mu
	s.readUntil.cond, s.writeUntil.cond = &s.readable, &s.writable
	return s
}

// Read implements net.Conn. Data received before an end is delivered first.
func (s *muxStream) Read(p []byte) (int, error) {
	m := s.mux
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.readUntil.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.in.n > 0:
			n := s.in.read(p)
			m.read(n)
			return n, nil
		case s.refused:
			return 0, ErrNotConnected
		case s.fin:
			return 0, io.EOF
		case m.err != nil:
			return 0, m.err
		}
		s.readable.Wait()
	}
}

// Write implements net.Conn. It returns when the Conn has accepted p. After an
// error nothing more of p is sent.
func (s *muxStream) Write(p []byte) (int, error) {
	s.mux.mu.Lock()
	defer s.mux.mu.Unlock()
	for s.writing {
		if err := s.writeError(); err != nil {
			return 0, err
		}
		s.writable.Wait()
	}
	if err := s.writeError(); err != nil || len(p) == 0 {
		return 0, err
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.writable.Broadcast()
	}()
	s.out = p
	s.enqueue()
	for len(s.out) > 0 || s.sending {
		if err := s.writeError(); err != nil {
			n := len(p) - len(s.out)
			s.out = nil
			return n, err
		}
		s.writable.Wait()
	}
	return len(p), nil
}

func (s *muxStream) writeError() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.mux.sendErr != nil:
		return s.mux.sendErr
	case s.writeUntil.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close implements net.Conn. It does not block: the FIN is sent when it is the
// connection's turn.
func (s *muxStream) Close() error {
	s.mux.mu.Lock()
	defer s.mux.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.close()
	return nil
}

func (s *muxStream) close() {
	s.closed = true
	delete(s.mux.streams, s.id)
	s.mux.read(s.in.n)
	s.in, s.out = chunks{}, nil
	if s.syn {
		s.syn = false // the agent never learns of it
	} else if s.mux.sendErr == nil {
		s.finish = true
		s.enqueue()
	}
	s.readUntil.set(time.Time{}) // wakes readers
	s.writeUntil.set(time.Time{})
}

// deliver buffers received data.
func (s *muxStream) deliver(p []byte) {
	if s.closed || s.fin {
		return // closed while waiting for room, or a violation of the protocol
	}
	s.began = true
	s.in.write(p)
	s.mux.waiting += len(p)
	s.readable.Broadcast()
}

// ended records that the far side has ended the connection. When a connection
// is refused, the agent's report does not say which one, but the next one that
// it ends is it.
func (s *muxStream) ended() {
	if !s.fin && !s.began {
		s.refused = s.mux.claimRefusal()
	}
	s.fin = true
	s.readable.Broadcast()
}

// enqueue puts the connection on the Mux's ready list.
func (s *muxStream) enqueue() {
	if !s.queued {
		s.queued = true
		s.mux.ready = append(s.mux.ready, s)
		s.mux.sendable.Signal()
	}
}

// frame appends the connection's next frame to b, if there is one, and queues
// the connection again if there are more.
func (s *muxStream) frame(b []byte) []byte {
	s.queued = false
	switch {
	case s.syn:
		b, s.syn = appendMuxFrame(b, muxSYN, s.id, nil), false
	case len(s.out) > 0:
		n := min(len(s.out), muxFrame)
		b = appendMuxFrame(b, muxPSH, s.id, s.out[:n])
		s.out = s.out[n:]
	case s.finish:
		b, s.finish = appendMuxFrame(b, muxFIN, s.id, nil), false
	default:
		return b
	}
	s.sending = true
	if len(s.out) > 0 || s.finish {
		s.enqueue()
	}
	return b
}

// LocalAddr returns the address of the Conn's socket.
func (s *muxStream) LocalAddr() net.Addr { return s.mux.conn.LocalAddr() }

// RemoteAddr returns the service's address: the far side's is not known.
func (s *muxStream) RemoteAddr() net.Addr { return s.mux.conn.RemoteAddr() }

// SetDeadline sets both deadlines.
func (s *muxStream) SetDeadline(t time.Time) error {
	return s.set(func() {
		s.readUntil.set(t)
		s.writeUntil.set(t)
	})
}

// SetReadDeadline sets the deadline of current and future calls of Read.
func (s *muxStream) SetReadDeadline(t time.Time) error {
	return s.set(func() { s.readUntil.set(t) })
}

// SetWriteDeadline sets the deadline of current and future calls of Write.
func (s *muxStream) SetWriteDeadline(t time.Time) error {
	return s.set(func() { s.writeUntil.set(t) })
}

func (s *muxStream) set(deadline func()) error {
	s.mux.mu.Lock()
	defer s.mux.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	deadline()
	return nil
}

// chunkSize is the size of the pieces in which chunks allocates memory.
const chunkSize = 16 << 10

// chunks is a queue of bytes that uses little more memory than it holds bytes,
// and releases it as they are read.
type chunks struct {
	list [][]byte // only the last may be empty
	n    int      // bytes queued
}

func (c *chunks) write(p []byte) {
	c.n += len(p)
	for len(p) > 0 {
		last := len(c.list) - 1
		if last < 0 || len(c.list[last]) == cap(c.list[last]) {
			c.list = append(c.list, make([]byte, 0, chunkSize))
			last++
		}
		tail := c.list[last]
		k := min(cap(tail)-len(tail), len(p))
		c.list[last] = append(tail, p[:k]...)
		p = p[k:]
	}
}

func (c *chunks) read(p []byte) (n int) {
	for n < len(p) && c.n > 0 {
		k := copy(p[n:], c.list[0])
		n += k
		c.n -= k
		c.list[0] = c.list[0][k:]
		if len(c.list[0]) == 0 && (c.n > 0 || cap(c.list[0]) == 0) {
			c.list[0] = nil
			c.list = c.list[1:]
		}
	}
	return n
}
