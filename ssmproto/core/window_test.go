package core

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// emulated is a path in virtual time: a bottleneck with a queue on the way up,
// and a way back that has room for all acknowledgements.
type emulated struct {
	name  string
	rate  func(now time.Duration) float64 // bytes per second of frames
	rtt   time.Duration
	queue int // bytes before messages are dropped
	loss  float64

	goodput float64       // wanted share of what the rate can carry
	delay   time.Duration // wanted bound of the added delay, 95th percentile

	stallAt, stallEnd time.Duration // the agent takes nothing in between
	after             [16]int       // bytes that came in each half second after that
	cut               bool          // at stallEnd the link is replaced, and what is on its way lost
	then              time.Duration // the round-trip time from stallEnd on; 0: as before
}

func mbit(r float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return r * 1e6 / 8 }
}

var paths = []emulated{
	{name: "100 Mbit/s, 20 ms", rate: mbit(100), rtt: 20 * time.Millisecond, queue: 1 << 20, loss: 0, goodput: 0.95, delay: 40 * time.Millisecond},
	{name: "8 Mbit/s, 50 ms", rate: mbit(8), rtt: 50 * time.Millisecond, queue: 1 << 20, loss: 0, goodput: 0.95, delay: 100 * time.Millisecond},
	{name: "500 kbit/s, 80 ms", rate: mbit(0.5), rtt: 80 * time.Millisecond, queue: 256 << 10, loss: 0, goodput: 0.90, delay: 250 * time.Millisecond},
	{name: "8 Mbit/s, 50 ms, 2 % loss both ways", rate: mbit(8), rtt: 50 * time.Millisecond, queue: 1 << 20, loss: 0.02, goodput: 0.80, delay: 250 * time.Millisecond},
	{name: "8 and 2 Mbit/s in turn, 50 ms", rate: func(now time.Duration) float64 {
		if now/(5*time.Second)%2 == 1 {
			return 2e6 / 8
		}
		return 8e6 / 8
	}, rtt: 50 * time.Millisecond, queue: 1 << 20, goodput: 0.85, delay: 500 * time.Millisecond},
	{name: "8 Mbit/s, 50 ms, 20 KB queue", rate: mbit(8), rtt: 50 * time.Millisecond, queue: 20 << 10, loss: 0, goodput: 0.75, delay: 200 * time.Millisecond},
	{name: "20 Mbit/s, 200 ms", rate: mbit(20), rtt: 200 * time.Millisecond, queue: 1 << 20, loss: 0, goodput: 0.80, delay: 250 * time.Millisecond},
}

// TestPaths measures bulk upload, and single bytes written beside it, over
// emulated paths for 30 s of virtual time.
func TestPaths(t *testing.T) {
	for _, p := range paths {
		goodput, delays, again := p.run(30*time.Second, 1)
		slices.Sort(delays)
		p50, p95, worst := delays[len(delays)/2], delays[len(delays)*95/100], delays[len(delays)-1]
		t.Logf("%-32s goodput %5.1f %%, added delay %v, 95th percentile %v, worst %v; %.1f %% sent again", p.name, 100*goodput,
			p50.Round(time.Millisecond), p95.Round(time.Millisecond), worst.Round(time.Millisecond), 100*again)
		if goodput < p.goodput || p95 > p.delay {
			t.Errorf("%s: goodput %.3f, want %.2f; delay %v, want %v", p.name, goodput, p.goodput, p95, p.delay)
		}
	}
}

// TestAgentStops: once the agent goes on, so does the stream, within a second.
func TestAgentStops(t *testing.T) {
	p := emulated{name: "agent stops", rate: mbit(8), rtt: 50 * time.Millisecond, queue: 1 << 20,
		stallAt: 5 * time.Second, stallEnd: 15 * time.Second}
	p.run(20*time.Second, 1)
	half := 8e6 / 8 / 2 * MaxPayload / (HeadLen + MaxPayload + 8) // what a half second can carry
	var shares []float64
	for _, n := range p.after {
		shares = append(shares, float64(n)/half)
	}
	t.Logf("share of the path's goodput in each half second: %.2f", shares)
	if shares[2] < 0.9 {
		t.Error("it is not back after a second")
	}
}

// TestLinkIsReplaced: what was outstanding, more than the path holds, goes out
// again at the path's pace.
func TestLinkIsReplaced(t *testing.T) {
	p := emulated{name: "cut", rate: mbit(100), rtt: 50 * time.Millisecond, queue: 4 << 20,
		stallAt: 4900 * time.Millisecond, stallEnd: 5 * time.Second, cut: true}
	p.run(10*time.Second, 1)
	half := 100e6 / 8 / 2 * MaxPayload / (HeadLen + MaxPayload + 8)
	var shares []float64
	for _, n := range p.after {
		shares = append(shares, float64(n)/half)
	}
	t.Logf("share of the path's goodput in each half second: %.2f", shares)
	if shares[0]+shares[1] < 1.4 || shares[2] < 0.9 {
		t.Error("it is not back within a second")
	}
}

// TestOtherPath: the new link's path, or the old one's from some moment on, is
// much longer, and is soon filled all the same.
func TestOtherPath(t *testing.T) {
	for _, then := range []time.Duration{40, 100, 300, 600} {
		for _, cut := range []bool{false, true} {
			p := emulated{rate: mbit(32), rtt: 20 * time.Millisecond, queue: 1 << 20,
				stallAt: 5 * time.Second, stallEnd: 5 * time.Second, cut: cut, then: then * time.Millisecond}
			p.run(15*time.Second, 1)
			half := 32e6 / 8 / 2 * MaxPayload / (HeadLen + MaxPayload + 8)
			var shares []float64
			for _, n := range p.after {
				shares = append(shares, float64(n)/half)
			}
			t.Logf("20 to %3d ms, cut: %5v: share of the path's goodput in each half second: %.2f", then, cut, shares)
			want := 0.8
			if then == 600 && !cut { // a timeout at each message until the base is probed for
				want = 0.3
			}
			if best := slices.Max(shares[12:]); best < want {
				t.Errorf("20 to %d ms, cut: %v: it does not fill the path any more", then, cut)
			}
		}
	}
}

// TestQueueDoesNotGrow: what stands in the queue all the time is not taken for
// the path.
func TestQueueDoesNotGrow(t *testing.T) {
	few := paths[:3]
	if raced { // here nothing races
		few = paths[1:2]
	}
	for _, p := range few {
		_, delays, _ := p.run(200*time.Second, 1)
		n := len(delays) / 8
		first, last := slices.Sorted(slices.Values(delays[:n])), slices.Sorted(slices.Values(delays[7*n:]))
		early, late := first[n/2], last[n/2]
		t.Logf("%s: added delay %v, after 3 minutes %v", p.name, early.Round(time.Millisecond), late.Round(time.Millisecond))
		if late > early*5/4 {
			t.Errorf("%s: the added delay grows from %v to %v", p.name, early, late)
		}
	}
}

// way is half of the round-trip time.
func (p *emulated) way(now time.Duration) time.Duration {
	if p.then > 0 && now >= p.stallEnd {
		return p.then / 2
	}
	return p.rtt / 2
}

type pathEvent struct {
	at    time.Duration
	frame []byte // arrives at the agent, or
	ack   int64  // its acknowledgement at the sender
}

type pathEvents []pathEvent

func (q pathEvents) Len() int           { return len(q) }
func (q pathEvents) Less(i, j int) bool { return q[i].at < q[j].at }
func (q pathEvents) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *pathEvents) Push(x any)        { *q = append(*q, x.(pathEvent)) }
func (q *pathEvents) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func (p *emulated) run(length time.Duration, seed uint64) (goodput float64, delays []time.Duration, again float64) {
	const wire = HeadLen + MaxPayload + 8 // with the WebSocket's head
	rng := rand.New(rand.NewPCG(seed, 3))
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{1})
	s.rtt.sample(p.rtt) // of the handshake
	r := newReceiver(func(PayloadType, []byte) {})
	var (
		events    pathEvents
		now       = time.Duration(1)
		busyUntil time.Duration // the bottleneck's
		written   int64
		probes    []struct{ pos, at int64 }
		nextProbe = 100 * time.Millisecond
		waiting   time.Duration // a probe that found no room yet
		bulk      = make([]byte, MaxPayload)
		sink      = make([]byte, readLimit)
		carried   float64
		sent      int
	)
	for now < length {
		if waiting == 0 && now >= nextProbe {
			waiting = now
			nextProbe += 100 * time.Millisecond
		}
		// Writers take their turns: bulk in pieces of a message, the probe first.
		for s.room() > 0 {
			if waiting > 0 {
				s.write(bulk[:1])
				written++
				probes = append(probes, struct{ pos, at int64 }{written, int64(waiting)})
				waiting = 0
				continue
			}
			written += int64(s.write(bulk))
		}
		s.tick(now)
		for f := s.poll(now); f != nil; f = s.poll(now) {
			sent++
			size := float64(len(f) + 8)
			queued := max(busyUntil-now, 0).Seconds() * p.rate(now)
			if queued+size > float64(p.queue) || rng.Float64() < p.loss {
				continue
			}
			busyUntil = max(busyUntil, now) + time.Duration(size/p.rate(now)*1e9)
			arrival := busyUntil + p.way(now)
			if arrival >= p.stallAt && arrival < p.stallEnd {
				arrival = p.stallEnd // waits in the service
			}
			heap.Push(&events, pathEvent{at: arrival, frame: slices.Clone(f)})
		}
		next := length
		if waiting == 0 {
			next = nextProbe
		}
		if d := s.deadline(); d > 0 {
			next = min(next, d)
		}
		if len(events) > 0 {
			next = min(next, events[0].at)
		}
		if p.cut && now < p.stallEnd && next >= p.stallEnd {
			next = p.stallEnd
			events = nil
			s.relink()
		}
		carried += p.rate(now) * (max(next, now) - now).Seconds()
		now = max(next, now+1)
		for len(events) > 0 && events[0].at <= now {
			e := heap.Pop(&events).(pathEvent)
			if e.frame == nil {
				s.ack(e.ack, now)
				continue
			}
			m, err := Parse(e.frame)
			if err != nil {
				panic(err)
			}
			if r.accept(&m) && rng.Float64() >= p.loss {
				heap.Push(&events, pathEvent{at: e.at + p.way(e.at), ack: m.Sequence})
			}
			r.read(sink)
			if p.stallEnd > 0 && e.at > p.stallEnd && e.at <= p.stallEnd+8*time.Second {
				p.after[int((e.at-p.stallEnd-1)/(500*time.Millisecond))] += len(m.Payload)
			}
			for len(probes) > 0 && probes[0].pos <= r.total {
				delays = append(delays, e.at-time.Duration(probes[0].at)-p.rtt/2)
				probes = probes[1:]
			}
		}
	}
	return float64(r.total) / (carried * MaxPayload / wire), delays, 1 - float64(s.next)/float64(sent)
}
