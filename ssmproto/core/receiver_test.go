package core

import "testing"

func TestSlotsForgetLargeMessages(t *testing.T) {
	r := newReceiver(func(PayloadType, []byte) {})
	large := make([]byte, MaxFrame/2)
	sink := make([]byte, readLimit)
	for seq := int64(0); seq < 2000; seq += 2 {
		r.accept(&Message{Sequence: seq + 1, PayloadType: Output, Payload: large})
		r.accept(&Message{Sequence: seq, PayloadType: Output, Payload: large})
		r.read(sink)
	}
	kept := 0
	for _, s := range r.slots {
		kept += cap(s.data)
	}
	if kept > 1<<20 {
		t.Errorf("%d bytes in empty slots", kept)
	}
}

func TestReceiverBounds(t *testing.T) {
	r := newReceiver(func(PayloadType, []byte) {})
	for seq, want := range map[int64]bool{maxReorder: false, maxReorder - 1: true, -1: false} {
		if got := r.accept(&Message{Sequence: seq, PayloadType: Output, Payload: []byte("x")}); got != want {
			t.Errorf("number %d accepted: %v", seq, got)
		}
	}
	r.accept(&Message{Sequence: 5, PayloadType: Output, Payload: []byte("first")})
	kept, held := r.kept, r.held
	if !r.accept(&Message{Sequence: 5, PayloadType: Output, Payload: []byte("second")}) || r.kept != kept || r.held != held {
		t.Error("an early duplicate was not just acknowledged")
	}
	big := make([]byte, 200<<10)
	var taken int
	for seq := int64(10); seq < 500; seq++ {
		if r.accept(&Message{Sequence: seq, PayloadType: Output, Payload: big}) {
			taken += len(big)
		}
	}
	if taken > maxReorderBytes || taken < maxReorderBytes/2 {
		t.Errorf("%d bytes kept out of order", taken)
	}
}

// TestReceiverForgetsALongGap: the memory that a long repetition takes is given
// back once it is over.
func TestReceiverForgetsALongGap(t *testing.T) {
	r := newReceiver(func(PayloadType, []byte) {})
	payload := make([]byte, MaxPayload)
	const n = 20_000
	for seq := int64(1); seq < n; seq++ {
		if !r.accept(&Message{Sequence: seq, PayloadType: Output, Payload: payload}) {
			t.Fatalf("message %d was not kept", seq)
		}
	}
	if got := r.missing(); got != 1 {
		t.Errorf("%d messages are missing", got)
	}
	r.accept(&Message{Sequence: 0, PayloadType: Output, Payload: payload})
	p := make([]byte, 1<<20)
	for r.next < n || r.buf.n > 0 {
		if k, _ := r.read(p); k == 0 {
			t.Fatal("nothing to read")
		}
	}
	if len(r.slots) > keptSlots {
		t.Errorf("%d slots are left", len(r.slots))
	}
}
