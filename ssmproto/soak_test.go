//go:build soak

package ssmproto_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

var (
	soakTime = flag.Duration("soak", 10*time.Minute, "how long TestSoak runs")
	soakSeed = flag.Uint64("seed", 0, "of TestSoak's load and faults; 0 is one at random")
)

const (
	cutEvery    = 2 * time.Second
	faultEvery  = 20 * time.Second
	sampleEvery = 10 * time.Second

	// What a sample may be above the warm-up's largest. Buffers are kept at the
	// size that they once needed, and the warm-up brings them near their bounds
	// but not quite; a link that is not let go of is 100 KiB and two goroutines,
	// and there are hundreds.
	heapSlack      = 4 << 20
	goroutineSlack = 5

	// stuckAfter is for how long a direction may stand still that has something
	// to carry. The longest fault takes half of it.
	stuckAfter = time.Minute
)

// TestSoak is an hour and more, compressed: one Conn over TLS, cut every two
// seconds, with traffic both ways and three faults a minute. Every byte must
// arrive, and memory and goroutines must stay where they were after a warm-up of
// a tenth of the time, or longer: every fault has its turn in it, so no run is
// shorter than a minute. Service, agent and load are in this process and count.
//
//	go test -tags soak -run TestSoak -timeout 20m -v ./ssmproto [-soak 1m] [-seed N]
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat the load and the faults: -seed %d", seed)
	s := newSoak(t, seed)
	begun := time.Now()
	s.run(begun.Add(*soakTime/10), begun.Add(*soakTime))
	s.finish()
	s.report(time.Since(begun))
}

// soak is one run. The fields down to samples are the test's goroutine's alone.
type soak struct {
	t       testing.TB
	rig     *rig
	near    *ssmproto.Conn
	session *soakSession
	rng     *rand.Rand
	faults  []*soakFault
	deck    []*soakFault // to come, before they are shuffled again
	cuts    int
	samples []sample // those of the warm-up first
	warm    int      // samples in it

	up, down *way
	sending  gate          // both senders
	reading  gate          // our reader
	stop     chan struct{} // closed: send no more
	errs     chan error
	log      *tail

	mu      sync.Mutex
	outages int
	longest time.Duration
}

type sample struct {
	heap       uint64 // bytes
	goroutines int
}

func newSoak(t testing.TB, seed uint64) *soak {
	s := &soak{
		t:    t,
		rig:  newRig(t, ssmtest.Config{TLS: true, Agent: compressedAgent}),
		rng:  rand.New(rand.NewPCG(seed, 0)),
		up:   newWay("up", seed, 4<<20),
		down: newWay("down", seed, 256<<10),
		stop: make(chan struct{}),
		errs: make(chan error, 4),
		log:  &tail{},
		warm: math.MaxInt,
	}
	s.sending.init()
	s.reading.init()
	s.faults = soakFaults()
	s.deck = append(fillers(), s.shuffled()...)
	cfg := &ssmproto.Config{
		Log:      slog.New(slog.NewTextHandler(s.log, nil)),
		OnOutage: s.outage,
	}
	cfg.SetPingAfter(time.Second) // a dead peer is noticed in seconds, too
	s.session = &soakSession{Client: s.rig.NewClient(node, "22"), srv: s.rig.Server}
	var err error
	if s.near, err = s.rig.dialSession(t, s.session, cfg); err != nil {
		t.Fatal(err)
	}
	far := s.rig.far(t)
	go func() { s.errs <- s.up.send(s.near, s) }()
	go func() { s.errs <- s.down.send(far, s) }()
	go func() { s.errs <- s.up.receive(far, nil) }()
	go func() { s.errs <- s.down.receive(s.near, &s.reading) }()
	return s
}

// compressedAgent keeps its pace, but it repeats twenty times as often as the
// real one does, ten lost messages a second. It would mend one black hole for
// minutes, and an hour has few.
var compressedAgent = ssmtest.Agent{ResendEvery: 5 * time.Millisecond}

func (s *soak) outage(o ssmproto.Outage) {
	if !o.Over {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outages++
	s.longest = max(s.longest, o.Lasted)
}

// run makes the weather until end. In the warm-up fault follows fault, so that
// after it every buffer has its size.
func (s *soak) run(warm, end time.Time) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	nextCut, nextFault, nextSample := time.Now().Add(cutEvery), time.Now(), time.Now()
	var now running
	for {
		var t time.Time
		select {
		case t = <-tick.C:
		case err := <-s.errs:
			s.fatal("%v", err)
		}
		s.watch()
		if now.fault != nil && now.over(s) {
			now.end(s)
			now = running{}
		}
		if now.fault == nil && t.After(end) && !s.warming() {
			return
		}
		if now.fault == nil && t.After(warm) && s.warming() && s.hadAll() && len(s.samples) > 0 {
			s.warm = len(s.samples)
		}
		switch {
		case now.fault != nil:
		case t.After(nextSample):
			// A quiet point: all that was sent has arrived, and no fault is on.
			s.sending.shut(true)
			if s.quiet() {
				s.sample()
				s.sending.shut(false)
				nextSample = time.Now().Add(min(sampleEvery, *soakTime/40))
			}
		case t.After(nextFault):
			now = s.begin()
			if !s.warming() {
				nextFault = t.Add(min(faultEvery, *soakTime/20))
			}
		}
		if t.After(nextCut) && !now.alone() {
			s.cut()
			nextCut = t.Add(cutEvery)
		}
	}
}

func (s *soak) hadAll() bool {
	return !slices.ContainsFunc(s.faults, func(f *soakFault) bool { return f.times == 0 })
}

func (s *soak) warming() bool { return s.warm == math.MaxInt }

func (s *soak) cut() {
	s.cuts++
	s.rig.Cut(ssmtest.Cut(s.rng.IntN(3)))
}

// quiet tells whether nothing is under way.
func (s *soak) quiet() bool {
	return s.sending.waiting() == 2 && s.up.quiet() && s.down.quiet()
}

// sample takes a sample, once the service is done with links that have ended,
// which it keeps for up to two seconds.
func (s *soak) sample() {
	n := runtime.NumGoroutine()
	for end := time.Now().Add(3 * time.Second); n > s.fewest() && time.Now().Before(end); n = runtime.NumGoroutine() {
		time.Sleep(5 * time.Millisecond)
	}
	runtime.GC()
	runtime.GC() // what a sync.Pool holds survives the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.samples = append(s.samples, sample{m.HeapAlloc, n})
}

// fewest is the smallest number of goroutines so far.
func (s *soak) fewest() int {
	n := math.MaxInt
	for _, x := range s.samples {
		n = min(n, x.goroutines)
	}
	return n
}

// watch ends the test if a direction stands still.
func (s *soak) watch() {
	for _, w := range []*way{s.up, s.down} {
		if d := w.still(); d > stuckAfter {
			s.fatal("%s: nothing has come for %v after %d of %d bytes", w.name, d, w.got.Load(), w.sent.Load())
		}
	}
}

func (s *soak) fatal(format string, args ...any) {
	s.t.Helper()
	buf := make([]byte, 1<<20)
	s.t.Fatalf("%s\n\n%s\n%s", fmt.Sprintf(format, args...), s.log, buf[:runtime.Stack(buf, true)])
}

// finish lets the weather end, and everything arrive.
func (s *soak) finish() {
	close(s.stop)
	s.sending.shut(false)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for senders := 2; senders > 0 || !s.up.quiet() || !s.down.quiet(); {
		select {
		case err := <-s.errs:
			if err != nil {
				s.fatal("%v", err)
			}
			senders--
		case <-tick.C:
			s.watch()
		}
	}
	s.sample()
	if err := s.near.Close(); err != nil {
		s.t.Error(err)
	}
	for range 2 { // the receivers
		if err := <-s.errs; !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
			s.t.Error(err)
		}
	}
	for _, w := range []*way{s.up, s.down} {
		if sent, got := fmt.Sprintf("%x", w.in.Sum(nil)), fmt.Sprintf("%x", w.out.Sum(nil)); sent != got || w.sent.Load() != w.got.Load() {
			s.t.Errorf("%s: sent %d bytes, SHA-256 %s, got %d, %s", w.name, w.sent.Load(), sent, w.got.Load(), got)
		}
	}
	s.rig.wantNoSessions(s.t)
}

// report judges the samples and prints how it went.
func (s *soak) report(took time.Duration) {
	var heap, goroutines []uint64
	for _, x := range s.samples {
		heap = append(heap, x.heap)
		goroutines = append(goroutines, uint64(x.goroutines))
	}
	flat := func(what string, of []uint64, slack uint64) {
		if before, after := slices.Max(of[:s.warm]), slices.Max(of[s.warm:]); after > before+slack {
			s.t.Errorf("%s: up to %d in the warm-up, %d after it: %d", what, before, after, of)
		}
	}
	flat("bytes of heap", heap, heapSlack)
	flat("goroutines", goroutines, goroutineSlack)

	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "\n%-24s "+format, append([]any{name}, args...)...)
	}
	for _, w := range []*way{s.up, s.down} {
		row(w.name, "%.1f MB, SHA-256 %x", float64(w.got.Load())/1e6, w.out.Sum(nil))
	}
	row("cuts", "%d, %d links", s.cuts, s.rig.Sessions()[0].Links())
	for _, f := range s.faults {
		row(f.name, "%d", f.times)
	}
	s.mu.Lock()
	row("outages", "%d, the longest %v", s.outages, s.longest.Round(time.Millisecond))
	s.mu.Unlock()
	kib := func(n uint64) uint64 { return n >> 10 }
	row("heap", "%d KiB first, %d max in the warm-up, %d max after, %d last (%d samples)", kib(heap[0]),
		kib(slices.Max(heap[:s.warm])), kib(slices.Max(heap[s.warm:])), kib(heap[len(heap)-1]), len(heap))
	row("goroutines", "%d first, %d max in the warm-up, %d max after, %d last", goroutines[0],
		slices.Max(goroutines[:s.warm]), slices.Max(goroutines[s.warm:]), goroutines[len(goroutines)-1])
	s.t.Logf("%v%s", took.Round(time.Second), &b)
}
