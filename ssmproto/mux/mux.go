package mux

import (
	"cmp"
	"context"
	"net"
	"sync"
	"time"
)

const (
	// frameLen is how many bytes, with the header, are sent for one connection
	// before the next one's turn. They fill four messages of the stream.
	frameLen = 4 << 10
	maxData  = frameLen - headLen

	// DefaultBuffer is how many bytes of a stream may be buffered for programs
	// that do not read them. The protocol has no flow control per connection:
	// once the buffer is full, the whole stream stalls. At the agent's pace of
	// less than 1 MB/s a connection that is not read fills it in more than a
	// minute.
	DefaultBuffer = 64 << 20

	readSize = 32 << 10
)

// Stream is what a Mux runs over: bytes to and from the agent. All methods may
// be called concurrently.
type Stream interface {
	net.Conn

	// Done returns a channel that is closed when the stream has ended.
	Done() <-chan struct{}

	// Err returns why the stream has ended, or nil if it has not. It never
	// returns io.EOF, which would tell a connection that the far side had ended
	// it.
	Err() error

	// Fail ends the stream with err, unless it has ended already.
	Fail(err error)

	// Refusal claims one report of the agent that it could not make a
	// connection, and returns the error for that, or nil if no report is left. It
	// must not block.
	Refusal() error
}

// Mux carries many connections over one Stream. It is the client side of smux
// version 1 (protocol.md section 4), of which the agent has the other side. All
// methods may be called concurrently.
//
// One goroutine receives and one sends. Only the sender waits for the network,
// so closing a connection never does.
type Mux struct {
	stream Stream
	buffer int
	wg     sync.WaitGroup

	mu       sync.Mutex
	conns    map[uint32]*conn // those that are not closed here
	last     uint32           // number of the connection that was opened last
	waiting  int              // bytes received and not read yet
	room     sync.Cond        // waiting has decreased, or no longer matters
	full     time.Time        // when the receiver began to wait for room; zero: it does not
	overflow bool             // the stream has ended: what it still holds may exceed buffer
	err      error            // why nothing more is received
	sendErr  error            // why nothing more is sent
	sendable sync.Cond        // ready, nop or sendErr is set
	ready    []*conn          // those with something to send, the next one first
	nop      bool             // a keep-alive is due
}

// Config configures a Mux. The zero value is valid.
type Config struct {
	// KeepAlive is how often a keep-alive is sent, so that the service
	// considers the session in use. 0 means never.
	KeepAlive time.Duration

	// Buffer is how many bytes may be buffered for programs that do not read
	// them. 0 means DefaultBuffer.
	Buffer int
}

// New returns a Mux over s. The Mux owns s from then on.
func New(s Stream, cfg Config) *Mux {
	m := &Mux{
		stream: s,
		buffer: cmp.Or(cfg.Buffer, DefaultBuffer),
		conns:  make(map[uint32]*conn),
		last:   1, // the first is 3, as in smux
	}
	m.room.L, m.sendable.L = &m.mu, &m.mu
	m.wg.Go(m.receive)
	m.wg.Go(m.send)
	m.wg.Go(func() {
		m.keepAlive(cfg.KeepAlive)
		m.update(func() { m.overflow = true })
		m.room.Broadcast()
	})
	return m
}

// Open opens a connection. It returns once the request to the agent is on its
// way, or ctx has ended. Whether the agent could connect is known only when
// something comes back: until then Read may fail with the stream's Refusal.
func (m *Mux) Open(ctx context.Context) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sendErr == nil && m.last > 1<<32-3 {
		m.stream.Fail(errNumbers)
		m.stopSending(errNumbers)
	}
	if m.sendErr != nil {
		return nil, m.sendErr
	}
	m.last += 2
	c := newConn(m, m.last)
	c.syn = true
	m.conns[c.id] = c
	c.enqueue()
	stop := context.AfterFunc(ctx, func() { m.update(c.writable.Broadcast) })
	defer stop()
	for c.syn || c.sending {
		switch {
		case m.sendErr != nil:
			c.close()
			return nil, m.sendErr
		case ctx.Err() != nil:
			c.close()
			return nil, context.Cause(ctx)
		}
		c.writable.Wait()
	}
	return c, nil
}

// Len returns how many connections are open.
func (m *Mux) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns)
}

// Stalled returns how long the Mux has received nothing because its buffer is
// full of data that programs do not read.
func (m *Mux) Stalled() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full.IsZero() {
		return 0
	}
	return time.Since(m.full)
}

// Close closes all connections and the stream, and takes no longer than closing
// the stream. If the stream had already ended, data received before can still be
// read.
func (m *Mux) Close() error {
	if m.stream.Err() != nil {
		m.wg.Wait() // nothing blocks the goroutines any more
	}
	m.mu.Lock()
	m.end(net.ErrClosed)
	m.mu.Unlock()
	err := m.stream.Close()
	m.wg.Wait()
	return err
}

// update calls change with the lock held.
func (m *Mux) update(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// end stops sending and receiving. m.mu is held.
func (m *Mux) end(err error) {
	m.stopSending(err)
	if m.err == nil {
		m.err = err
	}
	for _, c := range m.conns {
		c.readable.Broadcast()
	}
	m.room.Broadcast()
}

// stopSending stops sending. m.mu is held.
func (m *Mux) stopSending(err error) {
	if m.sendErr == nil {
		m.sendErr = err
	}
	m.sendable.Broadcast()
	for _, c := range m.conns {
		c.writable.Broadcast()
	}
}

// receive receives from the agent until the stream has ended.
func (m *Mux) receive() {
	var in demux
	buf := make([]byte, readSize)
	for {
		n, err := m.stream.Read(buf)
		m.mu.Lock()
		if wrong := m.take(&in, buf[:n]); wrong != nil {
			m.stream.Fail(wrong)
			err = wrong
		}
		if err != nil {
			m.end(m.stream.Err())
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
	}
}

// take processes bytes of the stream. An error is a violation of the protocol.
// m.mu is held.
func (m *Mux) take(in *demux, p []byte) error {
	for len(p) > 0 && m.err == nil {
		f, rest, err := in.next(p)
		if err != nil {
			return err
		}
		p = rest
		// A connection that is not in conns may be one that we have closed,
		// which the agent does not know yet.
		if f.id > m.last || f.id%2 == 0 || f.id == 1 {
			if f.cmd != nop {
				return &Error{f.cmd, f.id}
			}
			continue
		}
		c := m.conns[f.id]
		switch {
		case c == nil:
		case f.cmd == fin:
			c.ended()
		case f.cmd == psh && len(f.data) > 0:
			m.waitForRoom(len(f.data))
			c.deliver(f.data)
		}
	}
	return nil
}

// waitForRoom waits until there is room to buffer n more bytes. m.mu is held.
func (m *Mux) waitForRoom(n int) {
	for m.waiting > 0 && m.waiting+n > m.buffer && !m.overflow && m.err == nil {
		if m.full.IsZero() {
			m.full = time.Now()
		}
		m.room.Wait()
	}
	m.full = time.Time{}
}

// read records that n buffered bytes were read or dropped. m.mu is held.
func (m *Mux) read(n int) {
	m.waiting -= n
	m.room.Signal()
}

// send sends a frame of each connection that is ready in turn.
func (m *Mux) send() {
	buf := make([]byte, 0, frameLen)
	for {
		m.mu.Lock()
		for len(m.ready) == 0 && !m.nop && m.sendErr == nil {
			m.sendable.Wait()
		}
		if m.sendErr != nil {
			m.mu.Unlock()
			return
		}
		var c *conn
		frame := buf[:0]
		if m.nop {
			frame, m.nop = appendFrame(frame, nop, 0, nil), false
		} else {
			c = m.ready[0]
			m.ready[0] = nil
			m.ready = m.ready[1:]
			frame = c.frame(frame)
		}
		m.mu.Unlock()
		if len(frame) == 0 {
			continue
		}
		_, err := m.stream.Write(frame)
		m.mu.Lock()
		if c != nil {
			c.sending = false
			c.writable.Broadcast()
		}
		if err != nil {
			m.stopSending(m.stream.Err())
		}
		m.mu.Unlock()
	}
}

// keepAlive sends a keep-alive at the given interval, or never if that is 0,
// until the stream has ended.
func (m *Mux) keepAlive(every time.Duration) {
	if every <= 0 {
		<-m.stream.Done()
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.update(func() {
				m.nop = true
				m.sendable.Signal()
			})
		case <-m.stream.Done():
			return
		}
	}
}
