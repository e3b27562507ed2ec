package core

import (
	"testing"
	"time"
)

func BenchmarkEncode(b *testing.B) {
	m := Message{Type: InputStreamData, SchemaVersion: 1, Created: 1, PayloadType: Output, Payload: make([]byte, MaxPayload)}
	buf := make([]byte, 0, HeadLen+MaxPayload)
	b.SetBytes(MaxPayload)
	b.ReportAllocs()
	for b.Loop() {
		m.Sequence++
		buf = m.Append(buf[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	m := Message{Type: OutputStreamData, SchemaVersion: 1, Created: 1, PayloadType: Output, Payload: make([]byte, MaxPayload)}
	frame := m.Append(nil)
	b.SetBytes(MaxPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAckEncode(b *testing.B) {
	s := NewStream(InputStreamData, OutputStreamData, time.Now(), [32]byte{})
	m := Message{Type: OutputStreamData, Sequence: 123456}
	b.ReportAllocs()
	for b.Loop() {
		s.acks.push(&m)
		s.Poll(1)
	}
}

func BenchmarkAckDecode(b *testing.B) {
	payload := AppendAck(nil, &Message{Type: InputStreamData, Sequence: 123456})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAck(payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSend is a message from Write to its acknowledgement, with ten in
// flight.
func BenchmarkSend(b *testing.B) {
	s := newSender(InputStreamData, time.Now(), [32]byte{})
	s.rtt.sample(time.Millisecond)
	payload := make([]byte, MaxPayload)
	now := time.Duration(1)
	b.SetBytes(MaxPayload)
	b.ReportAllocs()
	for b.Loop() {
		now += 100 * time.Microsecond
		if s.write(payload) != len(payload) || s.poll(now) == nil {
			b.Fatal("held back")
		}
		if s.next-s.una == 10 {
			s.ack(s.una, now)
		}
	}
}

// BenchmarkReceive is a message from the socket to Read, and its
// acknowledgement's frame.
func BenchmarkReceive(b *testing.B) {
	s := NewStream(InputStreamData, OutputStreamData, time.Now(), [32]byte{})
	m := Message{Type: OutputStreamData, SchemaVersion: 1, Created: 1, PayloadType: Output, Payload: make([]byte, MaxPayload)}
	out := make([]byte, MaxPayload)
	var frame []byte
	b.SetBytes(MaxPayload)
	b.ReportAllocs()
	for b.Loop() {
		frame = m.Append(frame[:0])
		m.Sequence++
		if err := s.Receive(frame, 1); err != nil {
			b.Fatal(err)
		}
		s.in.read(out)
		s.Poll(1)
	}
}
