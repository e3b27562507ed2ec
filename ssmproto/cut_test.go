package ssmproto_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestCuts is what today's clients fail: the socket is cut again and again, at
// any byte, in the handshake too, while both sides send. The agent keeps its
// pace, because it repeats only ten lost messages a second.
func TestCuts(t *testing.T) {
	checkLeaks(t)
	runs := 50
	switch {
	case testing.Short():
		runs = 5
	case ssmproto.Raced:
		runs = 15
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 20)
	var links atomic.Int64
	for run := range runs {
		slots <- struct{}{}
		wg.Go(func() {
			n, err := cutRun(t, run)
			if err != nil {
				t.Errorf("run %d: %v", run, err)
			}
			links.Add(int64(n))
			<-slots
		})
	}
	wg.Wait()
	if n := int(links.Load()); n < 10*runs {
		t.Errorf("%d links in %d runs: that tests little", n, runs)
	} else {
		t.Logf("%d runs, %d links", runs, n)
	}
}

// cutRun moves 8 MiB each way over one session and returns how many links it
// took.
func cutRun(t testing.TB, run int) (links int, err error) {
	// Cut in the handshake again and again, on a busy machine, it may take long.
	r := startRig(t, ssmtest.Config{TLS: run%5 == 0, Agent: ssmtest.Agent{HandshakeTimeout: 2 * time.Minute}})
	defer r.stop()
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(uint64(run), 7))
	r.CutEach(func(link int) (int64, ssmtest.Cut) {
		mu.Lock()
		defer mu.Unlock()
		how := ssmtest.Cut(rng.IntN(3))
		if run%2 == 0 && link < 3 {
			return rng.Int64N(2000), how // in the handshake
		}
		return rng.Int64N(2 << 20), how
	})
	near, err := r.tryDial(t, nil)
	if err != nil {
		return 0, err
	}
	defer near.Close()
	far := <-r.accepted
	defer far.Close()
	if err := exchange(near, far, random(8<<20, uint64(run)), random(8<<20, uint64(run)+100)); err != nil {
		return 0, err
	}
	links = r.Sessions()[0].Links()
	near.Close()
	if n := r.ActiveSessions(); n != 0 {
		err = fmt.Errorf("%d sessions linger in the account", n)
	}
	return links, err
}

func TestLossDuplicatesAndReordering(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	bad := ssmtest.Path{Drop: 0.02, Duplicate: 0.02, Reorder: 0.05, Delay: time.Millisecond}
	r.SetPath(bad, bad)
	near, far := r.dialBoth(t, nil)
	up := random(8<<20, 1)
	// The agent mends one loss in 100 ms at best, so little comes down.
	check(t, exchange(near, far, up, random(256<<10, 2)))
	near.Close()
	r.wantNoSessions(t)
}
