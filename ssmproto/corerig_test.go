package ssmproto

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// What tests of the core have in common: messages made by hand, and a Conn and a
// stream without a link that take them.

func data(seq int64, payload string) []byte {
	return agentMessage(seq, Output, []byte(payload))
}

func agentMessage(seq int64, t PayloadType, payload []byte) []byte {
	m := Message{Type: OutputStreamData, SchemaVersion: 1, Created: 1, Sequence: seq, PayloadType: t, Payload: payload}
	return m.Append(nil)
}

func serviceMessage(t MessageType, payload string) []byte {
	m := Message{Type: t, SchemaVersion: 1, Created: 1, Payload: []byte(payload), Short: true}
	return m.Append(nil)
}

func ackOf(seq int64) []byte {
	m := Message{Type: Acknowledge, SchemaVersion: 1, Created: 1, Flags: 3,
		Payload: AppendAck(nil, &Message{Type: InputStreamData, Sequence: seq})}
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

func newTestStream() *stream {
	return newStream(InputStreamData, OutputStreamData, time.UnixMilli(1), [32]byte{})
}

// sentMessage polls one message and decodes it.
func sentMessage(t *testing.T, s *stream, now time.Duration) *Message {
	t.Helper()
	f := s.poll(now)
	if f == nil {
		return nil
	}
	m, err := Parse(bytes.Clone(f))
	if err != nil {
		t.Fatal(err)
	}
	return &m
}
