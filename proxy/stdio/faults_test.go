package stdio_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestSSHSurvivesCuts: the socket under a real ssh is cut again and again, in
// all ways and at any byte, in the handshake too, and ssh sees nothing of it.
func TestSSHSurvivesCuts(t *testing.T) {
	t.Parallel()
	rigtest.Need(t, "sshd")
	runs := 50
	switch {
	case testing.Short():
		runs = 6
	case rigtest.Race():
		runs = 20 // each costs several times as much
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	var links atomic.Int64
	for n := range runs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				r := rigtest.NewSSH(t, ssmtest.Config{TLS: n%5 == 0})
				var mu sync.Mutex
				rng := rand.New(rand.NewPCG(uint64(n), 11))
				r.CutEach(func(link int) (int64, ssmtest.Cut) {
					mu.Lock()
					defer mu.Unlock()
					how := ssmtest.Cut(rng.IntN(3))
					if n%2 == 0 && link < 3 {
						return rng.Int64N(2000), how // in the handshake
					}
					return rng.Int64N(3 << 20), how
				})
				if err := roundTrip(t, r, rigtest.Random(8<<20, uint64(n))); err != nil {
					t.Error(err)
				}
				links.Add(int64(r.Sessions()[0].Links()))
			})
		})
	}
	wg.Wait()
	if n := int(links.Load()); n < 8*runs {
		t.Errorf("%d links in %d runs: that tests little", n, runs)
	} else {
		t.Logf("%d runs, %d links", runs, n)
	}
}

func TestSSHSurvivesBlackHole(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a dead peer is noticed after 24 s")
	}
	r := rigtest.NewSSH(t, ssmtest.Config{})
	ended := make(chan struct{})
	go func() {
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		for len(r.Sessions()) == 0 || r.Sessions()[0].BytesUp() < 1<<20 {
			select {
			case <-look.C:
			case <-ended:
				return
			}
		}
		r.BlackHole()
	}()
	defer close(ended)
	if err := roundTrip(t, r, rigtest.Random(8<<20, 1)); err != nil {
		t.Error(err)
	}
	if n := r.Sessions()[0].Links(); n != 2 {
		t.Errorf("%d links", n)
	}
}

func TestSSHSurvivesLoss(t *testing.T) {
	t.Parallel()
	size := 8 << 20
	if testing.Short() {
		size = 1 << 20
	}
	r := rigtest.NewSSH(t, ssmtest.Config{})
	bad := ssmtest.Path{Drop: 0.02, Duplicate: 0.02, Reorder: 0.05}
	r.SetPath(bad, bad)
	if err := roundTrip(t, r, rigtest.Random(size, 1)); err != nil {
		t.Error(err)
	}
}
