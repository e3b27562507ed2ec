package core

import (
	"bytes"
	"testing"
	"time"
)

// What the tests have in common: messages made by hand, and a stream that takes
// them.

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

func newTestStream() *Stream {
	return NewStream(InputStreamData, OutputStreamData, time.UnixMilli(1), [32]byte{})
}

// sentMessage polls one message and decodes it.
func sentMessage(t *testing.T, s *Stream, now time.Duration) *Message {
	t.Helper()
	f := s.Poll(now)
	if f == nil {
		return nil
	}
	m, err := Parse(bytes.Clone(f))
	if err != nil {
		t.Fatal(err)
	}
	return &m
}
