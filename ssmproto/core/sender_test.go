package core

import (
	"slices"
	"testing"
	"time"
)

// TestAgentHasDialled: its first data proves it, and what was dropped before
// goes out again at once.
func TestAgentHasDialled(t *testing.T) {
	s := newTestStream()
	s.out.rtt.sample(time.Millisecond)
	s.out.write([]byte("SSH-2.0-me\r\n"))
	if sentMessage(t, s, 1) == nil {
		t.Fatal("nothing sent")
	}
	s.Receive(data(0, "SSH-2.0-you\r\n"), 2)
	now := 2 + 5*time.Millisecond // far from any timeout
	if m := sentMessage(t, s, now); m == nil || m.Type != Acknowledge {
		t.Fatalf("%+v", m)
	}
	if m := sentMessage(t, s, now); m == nil || string(m.Payload) != "SSH-2.0-me\r\n" || m.Sequence != 0 {
		t.Errorf("%+v", m)
	}
}

// TestPublication: pause holds back, and start, data and acknowledgements let go.
func TestPublication(t *testing.T) {
	for name, release := range map[string][]byte{
		"start": serviceMessage(StartPublication, ""), "data": data(0, "x"), "acknowledgement": ackOf(0),
	} {
		s := newTestStream()
		s.out.rtt.sample(time.Millisecond)
		count := func(now time.Duration) (n int) {
			for m := sentMessage(t, s, now); m != nil; m = sentMessage(t, s, now) {
				if m.Type == InputStreamData {
					n++
				}
			}
			return n
		}
		s.Receive(serviceMessage(PausePublication, ""), 1)
		s.out.write(make([]byte, 2*MaxPayload))
		if n := count(1); n != 1 {
			t.Errorf("%s: %d messages while paused", name, n)
		}
		s.Receive(release, 2)
		if n := count(20 * time.Millisecond); n < 1 {
			t.Errorf("%s does not let go", name)
		}
	}
}

func TestTimeouts(t *testing.T) {
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{})
	s.rtt.sample(10 * time.Millisecond)
	s.write([]byte("x"))
	now := time.Duration(1)
	s.poll(now)
	var waits []time.Duration
	for range 8 {
		due := s.deadline()
		waits = append(waits, due-now)
		now = due
		s.tick(now)
		if s.poll(now) == nil {
			t.Fatal("not sent again")
		}
	}
	if waits[0] != minRTO || waits[1] != 2*minRTO || waits[2] != 4*minRTO || waits[7] != maxRTO {
		t.Errorf("waits %v", waits)
	}
	before := s.rtt
	s.ack(0, now+time.Hour)
	if s.rtt != before {
		t.Error("a message that was sent more than once gave a round-trip time (Karn)")
	}
	s.write([]byte("y"))
	s.poll(now)
	if wait := s.deadline() - now; wait != minRTO {
		t.Errorf("after an acknowledgement the timeout is %v still", wait)
	}
}

// TestRelink: what was in flight goes out at once, its late acknowledgements
// are no round-trip times, and the timer starts anew.
func TestRelink(t *testing.T) {
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{})
	s.rtt.sample(10 * time.Millisecond)
	s.hold()
	s.write([]byte("one"))
	s.poll(1)
	s.tick(time.Second)
	s.poll(time.Second)
	s.write([]byte("two"))
	later := time.Hour
	s.relink()
	for _, want := range []string{"one", "two"} {
		f := s.poll(later)
		if f == nil || string(f[HeadLen:]) != want {
			t.Fatalf("sent %q, want %q", f, want)
		}
		later += time.Second / 100
	}
	// The new path may be longer than the old one.
	if wait := s.deadline() - later; wait < initialRTO/2 || wait > initialRTO {
		t.Errorf("the next timeout is in %v", wait)
	}
	before := s.rtt
	s.ack(0, later)
	if s.rtt != before {
		t.Error("the outage was taken for a round trip")
	}
	s.write([]byte("three"))
	s.poll(later)
	s.ack(2, later+10*time.Millisecond)
	if s.rtt.timeout() != minRTO {
		t.Errorf("with a sample of the new path the timeout is %v still", s.rtt.timeout())
	}
}

func TestWindowHoldsBack(t *testing.T) {
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{})
	sent := 0
	for s.write(make([]byte, MaxPayload)) > 0 || s.poll(1) != nil {
		for s.poll(1) != nil {
			sent++
		}
	}
	if sent == 0 || sent*(HeadLen+MaxPayload) > initialWindow {
		t.Errorf("%d messages without an acknowledgement", sent)
	}
	s.control(FlagPayload, []byte{0, 0, 0, 2})
	for s.next < s.end-1 { // what was queued before it
		s.ack(s.una, 1)
		s.poll(1)
	}
	if f := s.poll(1); f == nil {
		t.Error("the window holds a flag back")
	}
}

func TestManySmallMessagesAreBounded(t *testing.T) {
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{})
	s.window.size = maxWindow
	for range 100_000 {
		s.write([]byte("x"))
		s.poll(time.Hour)
	}
	if n := len(s.ring); n > 2*maxMessages {
		t.Errorf("%d buffers", n)
	}
}

// TestReplace: a message that has not been sent is replaced, and only by one of
// its type.
func TestReplace(t *testing.T) {
	s := newTestStream()
	for _, size := range []string{"1", "a longer one", "22"} {
		s.Replace(Size, []byte(size))
	}
	s.Write([]byte("x"))
	s.Replace(Size, []byte("333"))
	var got []string
	for m := sentMessage(t, s, 1); m != nil; m = sentMessage(t, s, 1) {
		got = append(got, string(m.Payload))
	}
	if want := []string{"22", "x", "333"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if s.out.backlog != 0 {
		t.Errorf("a backlog of %d bytes when all is sent", s.out.backlog)
	}
}
