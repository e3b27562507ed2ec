package ssmproto

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// muxFrame is how many bytes of one connection are sent before the next
	// one's turn. With the frame's 8-byte header they fill four messages.
	muxFrame = 4*MaxPayload - muxHead

	// DefaultMuxBuffer is how many bytes of a session may be buffered for
	// programs that do not read them. The protocol has no flow control per
	// connection: once the buffer is full, the whole session stalls. At the
	// agent's pace of less than 1 MB/s a connection that is not read fills it
	// in more than a minute.
	DefaultMuxBuffer = 64 << 20

	muxReadSize = 32 << 10
)

// Multiplexed reports whether the agent carries many connections over c, by
// means of a Mux: it does in port-forwarding sessions, unless it is old.
// Otherwise c is a single connection.
func (c *Conn) Multiplexed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.multiplexed()
}

// multiplexed makes the same decision as the agent (protocol.md section 3).
func (c *Conn) multiplexed() bool {
	return c.hs.sessionType == PortSession && c.hs.properties["type"] == "LocalPortForwarding" &&
		later(c.hs.agentVersion, "3.0.196.0") && !later("1.1.70", c.cfg.ClientVersion)
}

// later reports whether version a is later than b. Like the agent, it compares
// them part by part, as numbers if both parts are numbers and otherwise as
// text.
func later(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		order := cmp.Compare(as[i], bs[i])
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX == nil && errY == nil {
			order = cmp.Compare(x, y)
		}
		if order != 0 {
			return order > 0
		}
	}
	return len(as) > len(bs)
}

// Done returns a channel that is closed when c has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.ended }

// Err returns why c has ended, or nil if it has not. io.EOF means that it ended
// normally.
func (c *Conn) Err() error { return c.failure() }

// SendFlag sends a flag to the agent, in order after what has been written.
func (c *Conn) SendFlag(f Flag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.s.out.control(FlagPayload, binary.BigEndian.AppendUint32(nil, uint32(f)))
		c.wakeWriter()
	}
}

// Mux carries many connections over one Conn. It is the client side of smux
// version 1 (protocol.md section 4), of which the agent has the other side. All
// methods may be called concurrently.
//
// One goroutine receives and one sends. Only the sender waits for the network,
// so closing a connection never does.
type Mux struct {
	conn    *Conn
	buffer  int
	refused atomic.Int64 // refusals that no connection has claimed
	wg      sync.WaitGroup

	mu       sync.Mutex
	streams  map[uint32]*muxStream // those that are not closed here
	last     uint32                // number of the connection that was opened last
	waiting  int                   // bytes received and not read yet
	room     sync.Cond             // waiting has decreased, or no longer matters
	full     time.Time             // when the receiver began to wait for room; zero: it does not
	overflow bool                  // the Conn has ended: what it still holds may exceed buffer
	err      error                 // why nothing more is received
	sendErr  error                 // why nothing more is sent
	sendable sync.Cond             // ready, nop or sendErr is set
	ready    []*muxStream          // those with something to send, the next one first
	nop      bool                  // a keep-alive is due
}

// MuxConfig configures a Mux. The zero value is valid.
type MuxConfig struct {
	// KeepAlive is how often a keep-alive is sent, so that the service
	// considers the session in use. 0 means never.
	KeepAlive time.Duration

	// Buffer is how many bytes may be buffered for programs that do not read
	// them. 0 means DefaultMuxBuffer.
	Buffer int
}

// NewMux returns a Mux over c, which must be Multiplexed. The Mux owns c from
// then on.
func NewMux(c *Conn, cfg MuxConfig) *Mux {
	m := &Mux{
		conn:    c,
		buffer:  cmp.Or(cfg.Buffer, DefaultMuxBuffer),
		streams: make(map[uint32]*muxStream),
		last:    1, // the first is 3, as in smux
	}
	m.room.L, m.sendable.L = &m.mu, &m.mu
	c.mu.Lock()
	c.refused = func() { m.refused.Add(1) }
	c.mu.Unlock()
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
// something comes back: until then Read may fail with ErrNotConnected.
func (m *Mux) Open(ctx context.Context) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sendErr == nil && m.last > 1<<32-3 {
		m.conn.fail(errMuxNumbers)
		m.stopSending(errMuxNumbers)
	}
	if m.sendErr != nil {
		return nil, m.sendErr
	}
	m.last += 2
	s := newMuxStream(m, m.last)
	s.syn = true
	m.streams[s.id] = s
	s.enqueue()
	stop := context.AfterFunc(ctx, func() { m.update(s.writable.Broadcast) })
	defer stop()
	for s.syn || s.sending {
		switch {
		case m.sendErr != nil:
			s.close()
			return nil, m.sendErr
		case ctx.Err() != nil:
			s.close()
			return nil, context.Cause(ctx)
		}
		s.writable.Wait()
	}
	return s, nil
}

// Len returns how many connections are open.
func (m *Mux) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.streams)
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

// Close closes all connections and the Conn, and takes no longer than closing
// the Conn. If the Conn had already ended, data received before can still be
// read.
func (m *Mux) Close() error {
	if m.conn.Err() != nil {
		m.wg.Wait() // nothing blocks the goroutines any more
	}
	m.mu.Lock()
	m.end(net.ErrClosed)
	m.mu.Unlock()
	err := m.conn.Close()
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
	for _, s := range m.streams {
		s.readable.Broadcast()
	}
	m.room.Broadcast()
}

// stopSending stops sending. m.mu is held.
func (m *Mux) stopSending(err error) {
	if m.sendErr == nil {
		m.sendErr = err
	}
	m.sendable.Broadcast()
	for _, s := range m.streams {
		s.writable.Broadcast()
	}
}

// cause returns why the Conn has ended. It never returns io.EOF, which would
// tell a connection that the far side had ended it.
func (m *Mux) cause() error {
	if err := m.conn.Err(); err != io.EOF {
		return err
	}
	return ErrSessionEnded
}

// receive receives from the agent until the Conn has ended.
func (m *Mux) receive() {
	var in demux
	buf := make([]byte, muxReadSize)
	for {
		n, err := m.conn.Read(buf)
		m.mu.Lock()
		if wrong := m.take(&in, buf[:n]); wrong != nil {
			m.conn.fail(wrong)
			err = wrong
		}
		if err != nil {
			m.end(m.cause())
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
		// A connection that is not in streams may be one that we have closed,
		// which the agent does not know yet.
		if f.id > m.last || f.id%2 == 0 || f.id == 1 {
			if f.cmd != muxNOP {
				return &MuxError{f.cmd, f.id}
			}
			continue
		}
		s := m.streams[f.id]
		switch {
		case s == nil:
		case f.cmd == muxFIN:
			s.ended()
		case f.cmd == muxPSH && len(f.data) > 0:
			m.waitForRoom(len(f.data))
			s.deliver(f.data)
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
	buf := make([]byte, 0, muxHead+muxFrame)
	for {
		m.mu.Lock()
		for len(m.ready) == 0 && !m.nop && m.sendErr == nil {
			m.sendable.Wait()
		}
		if m.sendErr != nil {
			m.mu.Unlock()
			return
		}
		var s *muxStream
		frame := buf[:0]
		if m.nop {
			frame, m.nop = appendMuxFrame(frame, muxNOP, 0, nil), false
		} else {
			s = m.ready[0]
			m.ready[0] = nil
			m.ready = m.ready[1:]
			frame = s.frame(frame)
		}
		m.mu.Unlock()
		if len(frame) == 0 {
			continue
		}
		_, err := m.conn.Write(frame)
		m.mu.Lock()
		if s != nil {
			s.sending = false
			s.writable.Broadcast()
		}
		if err != nil {
			m.stopSending(m.cause())
		}
		m.mu.Unlock()
	}
}

// keepAlive sends a keep-alive at the given interval, or never if that is 0,
// until the Conn has ended.
func (m *Mux) keepAlive(every time.Duration) {
	if every <= 0 {
		<-m.conn.Done()
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
		case <-m.conn.Done():
			return
		}
	}
}

// claimRefusal claims one report of the agent that it could not connect, if
// there is one.
func (m *Mux) claimRefusal() bool {
	for {
		n := m.refused.Load()
		if n == 0 {
			return false
		}
		if m.refused.CompareAndSwap(n, n-1) {
			return true
		}
	}
}
