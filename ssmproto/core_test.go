package ssmproto

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// Units of the core, and of what a Conn makes of an agent's messages, by
// messages made by hand.

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
	l := &link{net: &wire{socket: &socket{}}}
	for _, m := range messages {
		frame := serverFrame(opBinary, m)
		for len(frame) > 0 {
			n := copy(l.in.space(), frame)
			l.in.filled(n)
			frame = frame[n:]
		}
		c.received(l)
	}
}

// TestTheEndWaitsForWhatIsMissing: neither success nor failure is told before
// it is known what has come.
func TestTheEndWaitsForWhatIsMissing(t *testing.T) {
	c := opened(t)
	c.feed(data(1, "world"), serviceMessage(ChannelClosed, closedNormally), data(0, "hello "))
	if got, err := io.ReadAll(c); string(got) != "hello world" || err != nil {
		t.Errorf("%q, %v", got, err)
	}

	c = opened(t)
	c.feed(data(1, "world"), serviceMessage(ChannelClosed, closedNormally))
	if got, err := io.ReadAll(c); len(got) > 0 || !errors.Is(err, ErrGap) {
		t.Errorf("with a gap that stays: %q, %v", got, err)
	}

	c = opened(t)
	c.feed(data(1, "world"), serviceMessage(ChannelClosed, closedNormally))
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
	c.feed(serviceMessage(ChannelClosed, closedNormally), data(1, kilobyte))
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
	if !c.s.in.full() {
		t.Error("it could take more, with 3,000 messages unread")
	}
	c.feed(serviceMessage(ChannelClosed, closedNormally))
	if n, err := io.Copy(io.Discard, c); err != nil || n != 3000*1024 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestNothingFollowsWhatCannotBeDecrypted(t *testing.T) {
	c := opened(t)
	key := bytes.Repeat([]byte{1}, dataKeyLen)
	theirs, err := newStreamCipher(append(bytes.Clone(key[32:]), key[:32]...)) // the agent's view
	if err != nil {
		t.Fatal(err)
	}
	if c.s.in.cipher, err = newStreamCipher(key); err != nil {
		t.Fatal(err)
	}
	sealed := func(s string) []byte { return theirs.seal([]byte(s), 0) }
	c.feed(agentMessage(2, Output, sealed("three")), agentMessage(1, Output, []byte("broken, and long enough to be read")), agentMessage(0, Output, sealed("one")))
	if got, err := io.ReadAll(c); string(got) != "one" || err == nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOneHandshake: a second one is not answered and changes nothing.
func TestOneHandshake(t *testing.T) {
	request := []byte(`{"AgentVersion":"3.3","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port"}}]}`)
	complete := []byte(`{"HandshakeTimeToComplete":1,"CustomerMessage":""}`)
	c := newConn(nil, nil)
	defer c.cancel()
	c.feed(agentMessage(0, HandshakeRequestType, request))
	c.wg.Wait()
	c.feed(agentMessage(1, HandshakeComplete, complete))
	cipher := &streamCipher{}
	c.s.in.cipher, c.s.out.cipher = cipher, cipher
	for seq := int64(2); seq < 20; seq += 2 {
		c.feed(agentMessage(seq, HandshakeRequestType, request), agentMessage(seq+1, HandshakeComplete, complete))
	}
	c.wg.Wait()
	if n := c.s.out.end; n != 1 {
		t.Errorf("%d answers", n)
	}
	if c.s.in.cipher != cipher || c.s.out.cipher != cipher {
		t.Error("encryption was switched off")
	}
}

func TestCompletingWhatWasRefusedFails(t *testing.T) {
	c := newConn(nil, nil)
	defer c.cancel()
	c.feed(agentMessage(0, HandshakeRequestType, []byte(`{"RequestedClientActions":[{"ActionType":"Dance"}]}`)))
	c.wg.Wait()
	c.feed(agentMessage(1, HandshakeComplete, []byte(`{}`)))
	var refused *HandshakeError
	if err := c.failure(); c.isOpen() || !errors.As(err, &refused) {
		t.Errorf("open: %v, %v", c.isOpen(), err)
	}
}

// TestConnectToPortError ends a session of one connection, and not one of many.
func TestConnectToPortError(t *testing.T) {
	flag := agentMessage(0, FlagPayload, []byte{0, 0, 0, 3})
	c := opened(t)
	c.feed(flag)
	if err := c.failure(); !errors.Is(err, ErrNotConnected) {
		t.Errorf("got %v", err)
	}
	c = opened(t)
	c.hs.sessionType = PortSession
	c.hs.properties = map[string]any{"type": "LocalPortForwarding"}
	c.feed(flag)
	if err := c.failure(); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestGapThatIsNotFilled: an agent that goes on but no longer has what is
// missing must not hang the stream.
func TestGapThatIsNotFilled(t *testing.T) {
	cfg := &Config{}
	cfg.SetGapLimit(50 * time.Millisecond)
	c := newConn(nil, cfg)
	defer c.cancel()
	for seq, end := int64(1), time.Now().Add(5*time.Second); c.failure() == nil && time.Now().Before(end); seq++ {
		c.feed(data(seq, "x"))
		time.Sleep(time.Millisecond) // the agent's pace
	}
	if err := c.failure(); !errors.Is(err, ErrGap) {
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

func newTestStream() *stream {
	return newStream(InputStreamData, OutputStreamData, time.UnixMilli(1), [32]byte{})
}

// TestAcknowledgements: in the captures' form, before data, for what was kept.
func TestAcknowledgements(t *testing.T) {
	s := newTestStream()
	s.out.write([]byte("data"))
	for _, f := range [][]byte{data(0, "a"), data(0, "a"), data(maxReorder+5, "far too early")} {
		if err := s.receive(f, 1); err != nil {
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
		s.receive(data(seq, "x"), 1)
		s.poll(1)
	}
	s.receive(data(last, "x"), 1)
	s.relink()
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

// TestAgentHasDialled: its first data proves it, and what was dropped before
// goes out again at once.
func TestAgentHasDialled(t *testing.T) {
	s := newTestStream()
	s.out.rtt.sample(time.Millisecond)
	s.out.write([]byte("SSH-2.0-me\r\n"))
	if sentMessage(t, s, 1) == nil {
		t.Fatal("nothing sent")
	}
	s.receive(data(0, "SSH-2.0-you\r\n"), 2)
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
		s.receive(serviceMessage(PausePublication, ""), 1)
		s.out.write(make([]byte, 2*MaxPayload))
		if n := count(1); n != 1 {
			t.Errorf("%s: %d messages while paused", name, n)
		}
		s.receive(release, 2)
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

// TestOnlyTheStreamIsEncrypted, and no two messages have the same id.
func TestOnlyTheStreamIsEncrypted(t *testing.T) {
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{})
	c, err := newStreamCipher(make([]byte, dataKeyLen))
	if err != nil {
		t.Fatal(err)
	}
	s.cipher = c
	s.write([]byte("secret"))
	s.control(FlagPayload, []byte{0, 0, 0, 2})
	first, err := Parse(bytes.Clone(s.poll(1)))
	if err != nil || bytes.Contains(first.Payload, []byte("secret")) || len(first.Payload) != 6+12+16 {
		t.Errorf("%q, %v", first.Payload, err)
	}
	second, err := Parse(bytes.Clone(s.poll(1)))
	if err != nil || !bytes.Equal(second.Payload, []byte{0, 0, 0, 2}) {
		t.Errorf("%q, %v", second.Payload, err)
	}
	if first.ID == second.ID {
		t.Error("two messages have the same id")
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

// TestReasonOfTheService reaches the user, whatever else it holds.
func TestReasonOfTheService(t *testing.T) {
	for _, reason := range []string{"Idle timeout", `with "quotes" and é`} {
		payload, _ := json.Marshal(map[string]string{"Output": reason})
		c := opened(t)
		c.feed(serviceMessage(ChannelClosed, string(payload)))
		var closed *ClosedError
		if _, err := io.ReadAll(c); !errors.As(err, &closed) || closed.Reason != reason {
			t.Errorf("%v", err)
		}
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
