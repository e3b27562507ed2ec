//go:build soak

package ssmproto_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// soakFault is something that goes wrong for a while.
type soakFault struct {
	name  string
	begin func(*soak)
	over  func(*soak) bool // nil: after some seconds
	end   func(*soak)
	alone bool // the link must not be cut meanwhile
	times int
}

// running is the fault that is on, if any.
type running struct {
	fault *soakFault
	began time.Time
	lasts time.Duration
}

// begin begins a fault: each has its turn before one comes again.
func (s *soak) begin() running {
	if len(s.deck) == 0 {
		s.deck = s.shuffled()
	}
	f := s.deck[0]
	s.deck = s.deck[1:]
	f.times++
	r := running{f, time.Now(), time.Second + time.Duration(s.rng.Int64N(int64(3*time.Second)))}
	f.begin(s)
	return r
}

func (s *soak) shuffled() []*soakFault {
	deck := slices.Clone(s.faults)
	s.rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	return deck
}

func (r running) alone() bool { return r.fault != nil && r.fault.alone }

func (r running) over(s *soak) bool {
	if r.fault.over == nil {
		return time.Since(r.began) > r.lasts
	}
	if time.Since(r.began) > stuckAfter/2 {
		s.fatal("%s: it has had no effect", r.fault.name)
	}
	return r.fault.over(s)
}

func (r running) end(s *soak) {
	if r.fault.end != nil {
		r.fault.end(s)
	}
}

func soakFaults() []*soakFault {
	bad := ssmtest.Path{Drop: 0.02, Duplicate: 0.02, Reorder: 0.05, Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond}
	slow := ssmtest.Path{Rate: 256 << 10}
	var links int
	var left atomic.Int64 // refusals to come
	refuse := func(s *soak, n int64) {
		left.Store(n)
		s.cut()
	}
	refused := func(*soak) bool { return left.Load() <= 0 }
	return []*soakFault{{
		name:  "black hole",
		begin: func(s *soak) { links = s.rig.Sessions()[0].Links(); s.rig.BlackHole() },
		over:  func(s *soak) bool { return s.rig.Sessions()[0].Links() > links },
		alone: true, // or it would be the cut that ends it
	}, {
		name:  "offline",
		begin: func(s *soak) { s.rig.Offline(true) },
		end:   func(s *soak) { s.rig.Offline(false) },
	}, {
		name:  "bad path, client's side",
		begin: func(s *soak) { s.rig.SetPath(bad, bad) },
		end:   func(s *soak) { s.rig.SetPath(ssmtest.Path{}, ssmtest.Path{}) },
	}, {
		name:  "bad path, agent's side",
		begin: func(s *soak) { s.rig.SetAgentPath(bad, bad) },
		end:   func(s *soak) { s.rig.SetAgentPath(ssmtest.Path{}, ssmtest.Path{}) },
	}, {
		name:  "slow path, agent's side",
		begin: func(s *soak) { s.rig.SetAgentPath(slow, slow) },
		end:   func(s *soak) { s.rig.SetAgentPath(ssmtest.Path{}, ssmtest.Path{}) },
	}, {
		name:  "agent stalled",
		begin: func(s *soak) { s.rig.StallAgent(true) },
		end:   func(s *soak) { s.rig.StallAgent(false) },
	}, {
		name:  "nobody reads",
		begin: func(s *soak) { s.down.flood.Store(true); s.reading.shut(true) },
		over:  func(s *soak) bool { return s.near.Buffered() > 700<<10 },
		end:   func(s *soak) { s.down.flood.Store(false); s.reading.shut(false) },
	}, {
		name: "resume throttled",
		begin: func(s *soak) {
			s.rig.OnAPI(func(string) *ssmtest.APIError {
				if left.Add(-1) < 0 {
					return nil
				}
				return &ssmtest.APIError{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"}
			})
			refuse(s, 1+s.rng.Int64N(4))
		},
		over: refused,
		end:  func(s *soak) { s.rig.OnAPI(nil) },
	}, {
		name: "upgrade refused",
		begin: func(s *soak) {
			status := []int{403, 429, 503}[s.rng.IntN(3)]
			s.rig.OnUpgrade(func(int) int {
				if left.Add(-1) < 0 {
					return 0
				}
				return status
			})
			refuse(s, 1)
		},
		over: refused,
		end:  func(s *soak) { s.rig.OnUpgrade(nil) },
	}, {
		name:  "credentials run out",
		begin: func(s *soak) { s.session.stale.Store(true); s.cut() },
		over:  func(s *soak) bool { return !s.session.stale.Load() },
	}}
}

// fillers are what makes the buffers as large as they get: those of the sender
// when much is in flight, those of the receiver when much waits for what is lost.
func fillers() []*soakFault {
	long := ssmtest.Path{Delay: 70 * time.Millisecond}
	var enough int64
	return []*soakFault{{
		name: "long path",
		begin: func(s *soak) {
			s.up.flood.Store(true)
			s.rig.SetPath(long, long)
			s.cut() // on the same link the longer way would be taken for a queue
			enough = s.up.got.Load() + 64<<20
		},
		over:  func(s *soak) bool { return s.up.got.Load() > enough },
		end:   func(s *soak) { s.up.flood.Store(false); s.rig.SetPath(ssmtest.Path{}, ssmtest.Path{}) },
		alone: true, // so that the window can open
	}, {
		name: "much lost",
		begin: func(s *soak) {
			s.down.flood.Store(true)
			s.rig.SetAgentPath(ssmtest.Path{}, ssmtest.Path{Drop: 1})
			enough = s.rig.Sessions()[0].BytesDown() + 1800<<10
		},
		over: func(s *soak) bool {
			if s.rig.Sessions()[0].BytesDown() > enough {
				s.rig.SetAgentPath(ssmtest.Path{}, ssmtest.Path{})
			}
			return s.near.Buffered() > 5<<20
		},
		end:   func(s *soak) { s.down.flood.Store(false) },
		alone: true,
	}}
}

// soakSession lets credentials run out between ResumeSession and the upgrade,
// which is signed with them.
type soakSession struct {
	*ssmtest.Client
	srv   *ssmtest.Server
	stale atomic.Bool
	times int
}

func (s *soakSession) Resume(ctx context.Context) (ssmproto.Grant, error) {
	g, err := s.Client.Resume(ctx)
	if err == nil && s.stale.Swap(false) {
		s.times++
		s.srv.SetCredentials(fmt.Sprintf("AKIA%016d", s.times), "a secret", fmt.Sprintf("token %d", s.times))
	}
	return g, err
}
