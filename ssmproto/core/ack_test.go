package core

import (
	"testing"
)

// TestAcknowledgements: in the captures' form, before data, for what was kept.
func TestAcknowledgements(t *testing.T) {
	s := newTestStream()
	s.out.write([]byte("data"))
	for _, f := range [][]byte{data(0, "a"), data(0, "a"), data(maxReorder+5, "far too early")} {
		if err := s.Receive(f, 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // one for the message, one for its duplicate
		m := sentMessage(t, s, 1)
		if m == nil || m.Type != Acknowledge || m.Flags != SYN|FIN || m.Sequence != 0 {
			t.Fatalf("%+v", m)
		}
		if seq, err := ParseAck(m.Payload); seq != 0 || err != nil {
			t.Errorf("acknowledges %d, %v", seq, err)
		}
	}
	if m := sentMessage(t, s, 1); m == nil || m.Type != InputStreamData {
		t.Errorf("%+v", m)
	}
	for seq := range int64(2 * maxPendingAcks) {
		s.acks.push(&Message{Sequence: seq})
	}
	if n := len(s.acks.q) - s.acks.head; n != maxPendingAcks {
		t.Errorf("%d acknowledgements wait", n)
	}
}

// TestRepetitionsLeaveRoom: links that last for a few frames each, one after the
// other, do not carry the same acknowledgements for ever.
func TestRepetitionsLeaveRoom(t *testing.T) {
	var a ackQueue
	for seq := range int64(len(a.recent)) {
		a.push(&Message{Sequence: seq})
		a.pop()
	}
	for range 10 {
		a.repeat()
		for range 100 { // which is all that this link takes
			a.pop()
		}
	}
	a.repeat()
	a.push(&Message{Sequence: 1000})
	for n := 1; ; n++ {
		p, ok := a.pop()
		if !ok || n > 2*maxAgain {
			t.Fatalf("after %d the news has not gone out", n)
		}
		if p.seq == 1000 {
			return
		}
	}
}

// TestAcknowledgementsAreRepeated on a new link: the last ones, in their order,
// before those that were waiting.
func TestAcknowledgementsAreRepeated(t *testing.T) {
	s := newTestStream()
	last := int64(len(s.acks.recent) + 200)
	for seq := range last {
		s.Receive(data(seq, "x"), 1)
		s.Poll(1)
	}
	s.Receive(data(last, "x"), 1)
	s.Relink()
	for want := int64(200); want <= last; want++ {
		m := sentMessage(t, s, 2)
		if m == nil || m.Type != Acknowledge {
			t.Fatalf("%+v", m)
		}
		if seq, _ := ParseAck(m.Payload); seq != want {
			t.Fatalf("acknowledges %d, want %d", seq, want)
		}
	}
	if m := sentMessage(t, s, 2); m != nil {
		t.Errorf("and %+v", m)
	}
}
