package ssmproto

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// Messages made by hand, and a Conn without a link that takes them.

func data(seq int64, payload string) []byte {
	return agentMessage(seq, core.Output, []byte(payload))
}

func agentMessage(seq int64, t core.PayloadType, payload []byte) []byte {
	m := core.Message{Type: core.OutputStreamData, SchemaVersion: 1, Created: 1, Sequence: seq, PayloadType: t, Payload: payload}
	return m.Append(nil)
}

func serviceMessage(t core.MessageType, payload string) []byte {
	m := core.Message{Type: t, SchemaVersion: 1, Created: 1, Payload: []byte(payload), Short: true}
	return m.Append(nil)
}

const closedNormally = `{"Output":""}`

// opened returns a Conn that is past its handshake; the agent's next message
// is number 0 all the same.
func opened(t *testing.T) *Conn {
	c := newConn(nil, nil)
	c.hs.agentVersion = "3.3"
	close(c.opened)
	t.Cleanup(c.cancel)
	return c
}

// ready is how many bytes wait for Read.
func ready(c *Conn) int {
	n, _ := c.s.Buffered()
	return n
}

// feed hands messages to c as a link would that has read them.
func (c *Conn) feed(messages ...[]byte) {
	from := new(told)
	l := link.New(from, func() {})
	for _, m := range messages {
		frame := binary.BigEndian.AppendUint64([]byte{0x82, 127}, uint64(len(m))) // RFC 6455 section 5.2
		from.said = append(frame, m...)
		for len(from.said) > 0 {
			l.Fill()
		}
		c.received(l)
	}
}

// told is the connection of a link to a service that has said something and
// says no more.
type told struct {
	net.Conn
	said []byte
}

func (t *told) Read(p []byte) (int, error) {
	n := copy(p, t.said)
	t.said = t.said[n:]
	return n, nil
}
