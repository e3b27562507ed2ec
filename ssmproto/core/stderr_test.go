package core

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestStandardErrorIsKeptApart: whatever comes in whatever order and is read in
// whatever pieces, each byte is of the output that it was sent as, and both
// outputs are in the order in which they were sent.
func TestStandardErrorIsKeptApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := newTestStream()
		var frames [][]byte
		var sent bytes.Buffer // with a byte before each that says which output it is
		for seq := range int64(1 + rng.IntN(60)) {
			typ, mark := Output, byte('o')
			if rng.IntN(2) == 0 {
				typ, mark = StdErr, 'e'
			}
			payload := make([]byte, rng.IntN(40))
			for i := range payload {
				payload[i] = byte(rng.Uint32())
				sent.Write([]byte{mark, payload[i]})
			}
			frames = append(frames, agentMessage(seq, typ, payload))
		}
		// Some come early, but not all before the first is read.
		for i := range len(frames) - 1 {
			j := min(i+rng.IntN(4), len(frames)-1)
			frames[i], frames[j] = frames[j], frames[i]
		}
		var got bytes.Buffer
		read := func() {
			for s.in.buf.n > 0 {
				p := make([]byte, 1+rng.IntN(50))
				n, stderr := s.Read(p)
				mark := byte('o')
				if stderr {
					mark = 'e'
				}
				for _, b := range p[:n] {
					got.Write([]byte{mark, b})
				}
			}
		}
		for _, f := range frames {
			s.Receive(f, 1)
			if rng.IntN(3) == 0 {
				read()
			}
		}
		read()
		if !bytes.Equal(got.Bytes(), sent.Bytes()) {
			t.Fatalf("got  %q\nsent %q", got.Bytes(), sent.Bytes())
		}
		if len(s.in.errs) > 0 {
			t.Fatalf("%v is left of what has been read", s.in.errs)
		}
	}
}
