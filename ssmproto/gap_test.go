package ssmproto

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// TestTheEndWaitsForWhatIsMissing: neither success nor failure is told before
// it is known what has come.
func TestTheEndWaitsForWhatIsMissing(t *testing.T) {
	c := opened(t)
	c.feed(data(1, "world"), serviceMessage(core.ChannelClosed, closedNormally), data(0, "hello "))
	if got, err := io.ReadAll(c); string(got) != "hello world" || err != nil {
		t.Errorf("%q, %v", got, err)
	}

	c = opened(t)
	c.feed(data(1, "world"), serviceMessage(core.ChannelClosed, closedNormally))
	if got, err := io.ReadAll(c); len(got) > 0 || !errors.Is(err, ErrGap) {
		t.Errorf("with a gap that stays: %q, %v", got, err)
	}

	c = opened(t)
	c.feed(data(1, "world"), serviceMessage(core.ChannelClosed, closedNormally))
	c.detach(nil)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrGap) {
		t.Errorf("with a gap and no link: %v", err)
	}
}

// TestGapBehindAFullBuffer: what waits for room hides no gap behind it.
func TestGapBehindAFullBuffer(t *testing.T) {
	c := opened(t)
	kilobyte := strings.Repeat("k", 1024)
	c.feed(data(0, kilobyte))
	for seq := int64(2); seq <= 1200; seq++ {
		if seq != 1101 {
			c.feed(data(seq, kilobyte))
		}
	}
	c.feed(serviceMessage(core.ChannelClosed, closedNormally), data(1, kilobyte))
	n, err := io.Copy(io.Discard, c)
	if !errors.Is(err, ErrGap) || n != 1101*1024 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestAllSlotsFull: what waited for room is delivered, and then the end.
func TestAllSlotsFull(t *testing.T) {
	c := opened(t)
	kilobyte := strings.Repeat("k", 1024)
	for seq := int64(0); seq < 3000; seq++ {
		c.feed(data(seq, kilobyte))
	}
	if !c.s.Full() {
		t.Error("it could take more, with 3,000 messages unread")
	}
	c.feed(serviceMessage(core.ChannelClosed, closedNormally))
	if n, err := io.Copy(io.Discard, c); err != nil || n != 3000*1024 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestGapThatIsNotFilled: an agent that goes on but no longer has what is
// missing must not hang the stream.
func TestGapThatIsNotFilled(t *testing.T) {
	cfg := &Config{}
	cfg.SetGapLimit(50 * time.Millisecond)
	c := newConn(nil, cfg)
	defer c.cancel()
	for seq, end := int64(1), time.Now().Add(5*time.Second); c.Err() == nil && time.Now().Before(end); seq++ {
		c.feed(data(seq, "x"))
		time.Sleep(time.Millisecond) // the agent's pace
	}
	if err := c.Err(); !errors.Is(err, ErrGap) {
		t.Errorf("got %v", err)
	}
}

// TestGapThatWillBeFilled: an agent that still repeats what we have is on its
// way to what we miss.
func TestGapThatWillBeFilled(t *testing.T) {
	cfg := &Config{}
	cfg.SetGapLimit(50 * time.Millisecond)
	c := newConn(nil, cfg)
	defer c.cancel()
	c.feed(data(0, "a"), data(2, "c"))
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c.feed(data(0, "a"))
	}
	c.feed(data(1, "b"))
	got := make([]byte, 3)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTwoReadersShareAMessage(t *testing.T) {
	c := opened(t)
	got := make(chan byte, 2)
	for range 2 {
		go func() {
			b := make([]byte, 1)
			if n, _ := c.Read(b); n == 1 {
				got <- b[0]
			}
		}()
	}
	c.feed(data(0, "ab"))
	for range 2 {
		select {
		case <-got:
		case <-time.After(5 * time.Second):
			t.Fatal("a reader sleeps on a byte")
		}
	}
}

// FuzzReceive feeds a Conn what an agent gone mad might send, cut into
// messages by the fuzzer: no crash, no unbounded memory, nothing delivered
// out of order.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x01\x05hello\x01\x01\x02xy\x03\x05\x00"))
	f.Add([]byte("\x02\x01\x01c\x01\x01\x01b\x00\x01\x01a"))
	f.Add([]byte("\x00\x07\x00\x01\x01\x010"))
	f.Add([]byte("\x01\x0b\x03err\x00\x01\x03out\x02\x0c\x0212"))
	f.Fuzz(func(t *testing.T, script []byte) {
		c := newConn(nil, nil)
		defer c.cancel()
		type part struct {
			payload []byte
			stderr  bool
		}
		want := make(map[int64]part) // the first to come with a number counts
		for len(script) >= 3 {
			seq, typ, n := int64(int8(script[0])), core.PayloadType(script[1]%14), int(script[2])
			script = script[3:]
			n = min(n, len(script))
			m := core.Message{Type: core.OutputStreamData, Created: 1, Sequence: seq, PayloadType: typ, Payload: script[:n]}
			script = script[n:]
			if _, ok := want[seq]; !ok {
				want[seq] = part{}
				if typ == core.Output || typ == core.StdErr {
					want[seq] = part{m.Payload, typ == core.StdErr}
				}
			}
			c.feed(m.Append(nil))
		}
		c.wg.Wait()
		// Each byte, and before it which of the two outputs it is of.
		mark := func(b, payload []byte, stderr bool) []byte {
			for _, p := range payload {
				b = append(b, "oe"[map[bool]int{true: 1}[stderr]], p)
			}
			return b
		}
		var expected, got []byte
		for seq := int64(0); ; seq++ {
			p, ok := want[seq]
			if !ok {
				break
			}
			expected = mark(expected, p.payload, p.stderr)
		}
		for ready(c) > 0 {
			b := make([]byte, 7)
			n, stderr := c.s.Read(b)
			got = mark(got, b[:n], stderr)
		}
		ended := c.Err() != nil // and what comes then is not taken in
		if !bytes.HasPrefix(expected, got) || !ended && len(got) < len(expected) {
			t.Errorf("got %q, want %q; ended: %v", got, expected, ended)
		}
	})
}
