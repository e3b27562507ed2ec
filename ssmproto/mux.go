package ssmproto

import (
	"cmp"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ssmpipe/ssmpipe/ssmproto/mux"
)

// Mux carries many connections over one Conn; see [mux.Mux]. All methods may be
// called concurrently.
//
// Whether the agent could make a connection is known only when something comes
// back from it: until then Read may fail with ErrNotConnected.
type Mux = mux.Mux

// MuxConfig configures a Mux; see [mux.Config]. The zero value is valid.
type MuxConfig = mux.Config

// MuxError means that the agent's multiplexer sent an invalid frame, which
// ended the session.
type MuxError = mux.Error

// DefaultMuxBuffer is how many bytes of a session may be buffered for programs
// that do not read them; see [mux.DefaultBuffer].
const DefaultMuxBuffer = mux.DefaultBuffer

// NewMux returns a Mux over c, which must be Multiplexed. The Mux owns c from
// then on.
func NewMux(c *Conn, cfg MuxConfig) *Mux {
	below := &muxed{Conn: c}
	c.mu.Lock()
	c.refused = func() { below.refused.Add(1) }
	c.mu.Unlock()
	return mux.New(below, cfg)
}

// muxed is a Conn as its Mux sees it.
type muxed struct {
	*Conn
	refused atomic.Int64 // refusals that no connection has claimed
}

// Err implements mux.Stream.
func (m *muxed) Err() error {
	if err := m.Conn.Err(); err != io.EOF {
		return err
	}
	return ErrSessionEnded
}

// Refusal implements mux.Stream.
func (m *muxed) Refusal() error {
	for {
		n := m.refused.Load()
		if n == 0 {
			return nil
		}
		if m.refused.CompareAndSwap(n, n-1) {
			return ErrNotConnected
		}
	}
}

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
