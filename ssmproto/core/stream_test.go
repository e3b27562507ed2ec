package core

import (
	"bytes"
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var schedules = flag.Int("schedules", 2000, "random schedules that the simulation runs")

// TestSimulation runs two ends of a stream against each other in virtual time,
// over a network that loses, doubles, delays, reorders and cuts, with readers
// that dawdle. What goes in must come out, memory must stay bounded, and it
// must end.
func TestSimulation(t *testing.T) {
	n := *schedules
	if testing.Short() || raced { // here nothing races
		n /= 10
	}
	var cuts, drops int
	for seed := range uint64(n) {
		s := newSimulation(seed)
		if err := s.run(); err != nil {
			t.Fatalf("schedule %d: %v (repeat with -run TestSimulation; seed in newSimulation)", seed, err)
		}
		cuts += s.cuts
		drops += s.drops
	}
	if cuts < n/4 || drops < n {
		t.Fatalf("%d schedules had %d cuts and %d losses: that tests nothing", n, cuts, drops)
	}
	t.Logf("%d schedules, %d cuts, %d losses", n, cuts, drops)
}

type simulation struct {
	rng     *rand.Rand
	now     time.Duration
	ends    [2]*simEnd
	net     inTransit
	sent    int
	epoch   int // links so far: frames of an old one do not arrive
	nextCut time.Duration

	drop, double float64
	base, jitter time.Duration
	cutEvery     time.Duration
	cuts, drops  int
	scratch      [64 << 10]byte
}

type simEnd struct {
	s         *Stream
	toWrite   []byte // what is to be sent in all
	written   int
	want      []byte // what the other end writes
	got       int
	nextRead  time.Duration
	nextWrite time.Duration
	readMax   int           // bytes a read takes at most
	readPause time.Duration // most time between two reads
	writeMax  int
}

type transit struct {
	at    time.Duration
	order int
	to    int
	epoch int
	frame []byte
}

type inTransit []transit

func (q inTransit) Len() int { return len(q) }
func (q inTransit) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q inTransit) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *inTransit) Push(x any)   { *q = append(*q, x.(transit)) }
func (q *inTransit) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func newSimulation(seed uint64) *simulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	pick := func(choices ...float64) float64 { return choices[rng.IntN(len(choices))] }
	s := &simulation{
		rng:      rng,
		drop:     pick(0, 0.01, 0.05, 0.3),
		double:   pick(0, 0.02, 0.2),
		base:     time.Duration(pick(0.1, 5, 80) * float64(time.Millisecond)),
		jitter:   time.Duration(pick(0, 1, 50) * float64(time.Millisecond)),
		cutEvery: time.Duration(pick(0, 0.3, 2) * float64(time.Second)),
	}
	types := [2]MessageType{InputStreamData, OutputStreamData}
	for i := range s.ends {
		e := &simEnd{
			s:         NewStream(types[i], types[1-i], time.UnixMilli(1), [32]byte{byte(seed), byte(i)}),
			toWrite:   make([]byte, rng.IntN(1+int(pick(0, 100, 20_000, 200_000)))),
			readMax:   int(pick(64<<10, 5000, 700)),
			readPause: time.Duration(pick(0, 1, 20) * float64(time.Millisecond)),
			writeMax:  int(pick(1, 100, 3000, 1<<20)),
		}
		if e.writeMax == 1 {
			e.toWrite = e.toWrite[:min(len(e.toWrite), 3000)]
		}
		for j := range e.toWrite {
			e.toWrite[j] = byte(rng.Uint32())
		}
		s.ends[i] = e
	}
	s.ends[0].want, s.ends[1].want = s.ends[1].toWrite, s.ends[0].toWrite
	if s.cutEvery > 0 {
		s.nextCut = s.cutEvery
	}
	return s
}

// run ends when both ends have everything and know it.
func (s *simulation) run() error {
	for steps := 0; ; steps++ {
		if s.now > time.Hour || steps > 5_000_000 {
			return fmt.Errorf("no end after %v and %d steps: got %d of %d and %d of %d", s.now, steps,
				s.ends[0].got, len(s.ends[0].want), s.ends[1].got, len(s.ends[1].want))
		}
		done := true
		for i, e := range s.ends {
			if err := s.work(i, e); err != nil {
				return fmt.Errorf("end %d at %v: %w", i, s.now, err)
			}
			done = done && e.got == len(e.want) && e.written == len(e.toWrite) && e.s.out.idle()
		}
		if done {
			return nil
		}
		if !s.advance() {
			return fmt.Errorf("nothing left to wait for at %v", s.now)
		}
	}
}

// work lets one end do what it can at this moment.
func (s *simulation) work(i int, e *simEnd) error {
	if s.now >= e.nextWrite && e.written < len(e.toWrite) {
		n := min(1+s.rng.IntN(e.writeMax), len(e.toWrite)-e.written)
		e.written += e.s.out.write(e.toWrite[e.written : e.written+n])
		e.nextWrite = s.now + time.Duration(s.rng.IntN(1000))*time.Microsecond
	}
	if s.now >= e.nextRead {
		p := s.scratch[:1+s.rng.IntN(e.readMax)]
		n, _ := e.s.in.read(p)
		if !bytes.HasPrefix(e.want[e.got:], p[:n]) {
			return fmt.Errorf("wrong bytes after %d right ones", e.got)
		}
		e.got += n
		e.nextRead = s.now + time.Duration(s.rng.Int64N(int64(e.readPause)+int64(time.Microsecond)))
	}
	e.s.out.tick(s.now)
	for {
		frame := e.s.Poll(s.now)
		if frame == nil {
			break
		}
		s.send(1-i, frame)
	}
	if b := e.s.in.buf.n; b > readLimit {
		return fmt.Errorf("%d bytes wait for Read", b)
	}
	if e.s.in.kept > maxReorderBytes || len(e.s.in.slots) > maxReorder {
		return fmt.Errorf("%d bytes in %d slots", e.s.in.kept, len(e.s.in.slots))
	}
	if e.s.out.inFlight > maxWindow+HeadLen+MaxPayload || e.s.out.backlog > MaxBacklog {
		return fmt.Errorf("%d bytes in flight, %d waiting", e.s.out.inFlight, e.s.out.backlog)
	}
	return nil
}

func (s *simulation) send(to int, frame []byte) {
	copies := 1
	if s.rng.Float64() < s.drop {
		copies = 0
		s.drops++
	} else if s.rng.Float64() < s.double {
		copies = 2
	}
	for range copies {
		s.sent++
		delay := s.base + time.Duration(s.rng.Int64N(int64(s.jitter)+1))
		heap.Push(&s.net, transit{s.now + delay, s.sent, to, s.epoch, bytes.Clone(frame)})
	}
}

// advance moves time to the next thing that happens, and lets it happen.
func (s *simulation) advance() bool {
	next := time.Duration(-1)
	consider := func(at time.Duration) {
		if at > 0 && (next < 0 || at < next) {
			next = max(at, s.now)
		}
	}
	for _, e := range s.ends {
		if e.written < len(e.toWrite) && e.s.out.room() > 0 {
			consider(e.nextWrite)
		}
		if e.s.in.buf.n > 0 {
			consider(e.nextRead)
		}
		consider(e.s.out.deadline())
	}
	if len(s.net) > 0 {
		consider(s.net[0].at)
	}
	if next < 0 {
		return false
	}
	if s.nextCut > 0 && next >= s.nextCut {
		s.now = max(s.nextCut, s.now)
		s.cut()
		return true
	}
	s.now = next
	var waiting []transit
	for len(s.net) > 0 && s.net[0].at <= s.now {
		m := heap.Pop(&s.net).(transit)
		if m.epoch != s.epoch {
			continue
		}
		in := s.ends[m.to].s
		if in.in.full() { // as a reader that does not read its socket
			m.at = s.now + time.Millisecond
			waiting = append(waiting, m)
			continue
		}
		if err := in.Receive(m.frame, s.now); err != nil {
			panic(err)
		}
	}
	for _, m := range waiting {
		heap.Push(&s.net, m)
	}
	return true
}

// cut replaces the link: what is on its way is lost.
func (s *simulation) cut() {
	s.cuts++
	s.epoch++
	s.nextCut = s.now + time.Duration(s.rng.Int64N(int64(2*s.cutEvery)))
	if s.cuts > 50 {
		s.nextCut = 0 // with a window that starts anew each time it would take too long
	}
	for _, e := range s.ends {
		e.s.Relink()
	}
}

// TestRetransmittedBytesAreTheSame: the agent's digest check and its
// duplicates rely on it.
func TestRetransmittedBytesAreTheSame(t *testing.T) {
	s := newSender(InputStreamData, time.Now(), [32]byte{})
	s.write([]byte("one"))
	first := bytes.Clone(s.poll(1))
	s.write([]byte("two")) // must not join what is on the wire
	s.poll(2)
	s.tick(1 + time.Minute)
	if again := s.poll(time.Minute + 2); !bytes.Equal(first, again) {
		t.Errorf("sent %q, and then %q", first, again)
	}
}

// TestSmallWritesTravelTogether: writes join while they wait, and only then.
func TestSmallWritesTravelTogether(t *testing.T) {
	s := newSender(InputStreamData, time.Now(), [32]byte{})
	for range 3000 {
		s.write([]byte{7})
	}
	var sizes []int
	for f := s.poll(1); f != nil; f = s.poll(1) {
		sizes = append(sizes, len(f)-HeadLen)
	}
	if fmt.Sprint(sizes) != "[1024 1024 952]" {
		t.Errorf("3,000 single bytes went out as %v", sizes)
	}
}

// TestDeepGapIsRefused: an agent that runs far ahead must not fill our memory,
// and what is not kept must not be acknowledged.
func TestDeepGapIsRefused(t *testing.T) {
	r := newReceiver(func(PayloadType, []byte) {})
	kept := 0
	for seq := int64(1); seq < 2*maxReorder; seq++ {
		if r.accept(&Message{Type: OutputStreamData, Sequence: seq, PayloadType: Output, Payload: make([]byte, 1024)}) {
			kept++
		}
	}
	if r.kept > maxReorderBytes || kept < maxReorderBytes/1024 {
		t.Errorf("kept %d messages, %d bytes", kept, r.kept)
	}
	if r.accept(&Message{Sequence: -1}) {
		t.Error("a negative sequence number was taken")
	}
}

func TestPauseHoldsBackAllButAProbe(t *testing.T) {
	s := newSender(InputStreamData, time.Now(), [32]byte{})
	s.hold()
	s.write(make([]byte, 10*MaxPayload))
	count := func(now time.Duration) (n int) {
		for s.poll(now) != nil {
			n++
		}
		return n
	}
	if n := count(1); n != 1 {
		t.Errorf("%d messages while the agent is away, want a probe", n)
	}
	s.tick(time.Minute)
	if n := count(time.Minute); n != 1 {
		t.Errorf("%d messages at the timeout, want the probe again", n)
	}
	s.release()
	if n := count(time.Minute); n < 3 {
		t.Errorf("%d messages once the agent is back", n)
	}
}

// TestFastRetransmit: a gap in the acknowledgements is mended within about a
// round trip, not at the timeout.
func TestFastRetransmit(t *testing.T) {
	s := newSender(InputStreamData, time.Now(), [32]byte{})
	now := time.Duration(1)
	rtt := 20 * time.Millisecond
	s.write(make([]byte, 8*MaxPayload))
	for s.poll(now) != nil {
	}
	s.write(make([]byte, 4*MaxPayload))
	for s.poll(now) != nil {
	}
	now += rtt
	for seq := s.una + 1; seq < s.next; seq++ { // number 0 is lost
		s.ack(seq, now)
	}
	s.write(make([]byte, 4*MaxPayload))
	resent := false
	for i := 0; i < 10 && !resent; i++ {
		now += rtt / 4
		for f := s.poll(now); f != nil; f = s.poll(now) {
			m, err := Parse(f)
			if err != nil {
				t.Fatal(err)
			}
			resent = resent || m.Sequence == 0
		}
		for seq := s.una + 1; seq < s.next; seq++ {
			s.ack(seq, now)
		}
	}
	if !resent || now > 1+rtt+minRTO {
		t.Errorf("number 0 sent again: %v, by %v", resent, now)
	}
}
