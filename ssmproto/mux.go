package ssmproto

import (
	"cmp"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xtaci/smux"
)

const (
	// muxFrame is how many bytes of one connection go out before it is another's
	// turn. With smux's head of 8 they fill four messages.
	muxFrame = 4*MaxPayload - 8

	// muxBuffer is how many bytes of a session may wait for programs that do
	// not read them. smux version 1 has no flow control by connection: past it
	// the whole session stands still. At the agent's pace of less than 1 MB/s
	// one connection that nobody reads takes a minute and more to get there.
	muxBuffer = 64 << 20
)

// Multiplexed says whether the agent carries many connections over c, by way
// of a Mux: it does in port-forwarding sessions, unless it is old. Without that
// c is one connection.
func (c *Conn) Multiplexed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.multiplexed()
}

// multiplexed follows the agent's own decision (protocol.md section 3).
func (c *Conn) multiplexed() bool {
	return c.hs.sessionType == PortSession && c.hs.properties["type"] == "LocalPortForwarding" &&
		later(c.hs.agentVersion, "3.0.196.0") && !later("1.1.70", c.cfg.ClientVersion)
}

// later says whether version a is later than b, compared part by part, as
// numbers if both are and else as text, as the agent does.
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

// Done is closed when c has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.ended }

// Err returns why c has ended, or nil. io.EOF means as it should.
func (c *Conn) Err() error { return c.failure() }

// SendFlag sends a flag to the agent. It keeps its place behind what has been
// written.
func (c *Conn) SendFlag(f Flag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.s.out.control(FlagPayload, binary.BigEndian.AppendUint32(nil, uint32(f)))
		c.wakeWriter()
	}
}

// Mux carries many connections over one Conn. All methods may be called
// concurrently.
type Mux struct {
	conn    *Conn
	session *smux.Session
	refused atomic.Int64 // refusals that no connection has claimed
	closed  atomic.Bool
	took    atomic.Int64 // when smux last took something in, ns; 0: it is waiting for more

	// opening is held, as a reader, while a connection is opened. smux tells the
	// far side of it before it knows it itself, and drops what it does not know:
	// what a server says first could be lost, or its end.
	opening sync.RWMutex
}

// NewMux makes a Mux of c, which must be Multiplexed, and owns it from then on.
// If keepAlive is not 0 something is sent so often that the service sees the
// session in use.
func NewMux(c *Conn, keepAlive time.Duration) (*Mux, error) {
	m := &Mux{conn: c}
	cfg := smux.DefaultConfig()
	cfg.Version = 1
	cfg.MaxFrameSize = muxFrame
	cfg.MaxReceiveBuffer = muxBuffer
	cfg.KeepAliveDisabled = keepAlive <= 0
	if keepAlive > 0 {
		cfg.KeepAliveInterval = keepAlive
		cfg.KeepAliveTimeout = 1 << 62 // the agent does not answer, and need not
	}
	c.mu.Lock()
	c.refused = func() { m.refused.Add(1) }
	c.mu.Unlock()
	var err error
	m.session, err = smux.Client(muxConn{c, m}, cfg)
	return m, err
}

// Open opens a connection. That the agent could connect is known only when
// something comes back: until then Read may fail with ErrNotConnected.
func (m *Mux) Open() (net.Conn, error) {
	m.opening.RLock()
	s, err := m.session.OpenStream()
	m.opening.RUnlock()
	if err != nil {
		return nil, m.cause(err)
	}
	return &muxStream{Conn: s, mux: m}, nil
}

// Len returns how many connections are open.
func (m *Mux) Len() int { return m.session.NumStreams() }

// Stalled returns for how long nothing has been taken in because programs do
// not read what has come for their connections: past 64 MiB all stand still.
func (m *Mux) Stalled() time.Duration {
	took := m.took.Load()
	if took == 0 {
		return 0
	}
	return time.Since(time.Unix(0, took))
}

// Close closes all connections and the Conn.
func (m *Mux) Close() error {
	m.closed.Store(true)
	if err := m.session.Close(); err != io.ErrClosedPipe {
		return err // of closing the Conn
	}
	return m.conn.Close() // smux has been closed before; that may be under way
}

// cause prefers the Conn's reason to smux's words.
func (m *Mux) cause(err error) error {
	ended := m.conn.Err()
	switch {
	case err == nil || ended == nil:
		return err
	case ended == io.EOF:
		return ErrSessionEnded
	}
	return ended
}

// muxConn is a Conn as smux sees it. smux hands the error of its Read to every
// connection, where io.EOF would say that the far side has ended that one.
type muxConn struct {
	*Conn
	mux *Mux
}

func (c muxConn) Read(p []byte) (int, error) {
	c.mux.took.Store(0)
	n, err := c.Conn.Read(p)
	c.mux.opening.Lock()
	c.mux.took.Store(time.Now().UnixNano())
	c.mux.opening.Unlock()
	if err == io.EOF {
		err = ErrSessionEnded
	}
	return n, err
}

// muxStream is one of a Mux's connections: a *smux.Stream without what it has
// beyond net.Conn, which would go past these methods.
type muxStream struct {
	net.Conn
	mux     *Mux
	closed  atomic.Bool
	began   bool // something has come; this and refused are the reader's alone
	refused bool
}

func (s *muxStream) Read(p []byte) (int, error) {
	if s.refused {
		return 0, ErrNotConnected
	}
	n, err := s.Conn.Read(p)
	if err != nil && s.mux.conn.Err() != nil {
		// Between data and the session's end smux chooses by chance. All that
		// came before the end is there now, and goes first.
		n, err = s.Conn.Read(p)
	}
	if n > 0 {
		s.began = true
	}
	switch {
	case err != nil && s.closed.Load():
		return n, net.ErrClosed
	case err == io.EOF && s.mux.closed.Load():
		return n, s.mux.cause(net.ErrClosed) // smux says so to all connections then
	case err == io.EOF && !s.began && s.mux.claimRefusal():
		// The agent says only that a connection was refused, and ends that one
		// next.
		s.refused = true
		return n, ErrNotConnected
	case err == io.EOF:
		return n, err
	}
	return n, s.mux.cause(err)
}

func (s *muxStream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	return n, s.mux.cause(err)
}

func (s *muxStream) Close() error {
	s.closed.Store(true)
	return s.Conn.Close()
}

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
