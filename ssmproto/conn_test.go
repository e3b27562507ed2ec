package ssmproto_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestStreamCarriesEveryByteAsItIs(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, nil)
	if near.SessionType() != ssmproto.PortSession {
		t.Errorf("session type %q", near.SessionType())
	}
	far := r.far(t)
	go io.Copy(far, far)
	for b := range 256 {
		one := []byte{byte(b)}
		if n, err := near.Write(nil); n != 0 || err != nil {
			t.Fatalf("empty write: %d, %v", n, err)
		}
		if n, err := near.Read(nil); n != 0 || err != nil {
			t.Fatalf("empty read: %d, %v", n, err)
		}
		check(t, send("echo", near, one))
		check(t, expect("echo", near, one))
	}
	near.Close()
	r.wantNoSessions(t)
}

func TestBulkBothWays(t *testing.T) {
	for _, tls := range []bool{false, true} {
		r := newRig(t, ssmtest.Config{TLS: tls, Agent: ssmtest.Agent{NoSleep: true}})
		near := r.dial(t, nil)
		check(t, exchange(near, r.far(t), random(8<<20, 1), random(8<<20, 2)))
		near.Close()
		r.wantNoSessions(t)
	}
}

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
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	near, err := ssmproto.Dial(ctx, r.NewClient(node, "22"), &ssmproto.Config{Transport: r.Transport()})
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
	near := r.dial(t, nil)
	far := r.far(t)
	up := random(8<<20, 1)
	// The agent mends one loss in 100 ms at best, so little comes down.
	check(t, exchange(near, far, up, random(256<<10, 2)))
	near.Close()
	r.wantNoSessions(t)
}

func TestDeadPeerIsReplaced(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	cfg := &ssmproto.Config{}
	cfg.SetPingAfter(50 * time.Millisecond)
	near := r.dial(t, cfg)
	far := r.far(t)
	check(t, send("up", near, []byte("before")))
	check(t, expect("up", far, []byte("before")))
	r.BlackHole()
	check(t, exchange(near, far, random(100_000, 1), random(100_000, 2)))
	if r.Sessions()[0].Links() != 2 {
		t.Errorf("%d links", r.Sessions()[0].Links())
	}
}

// TestQuietPeerIsNotDead: an idle session is kept, and so is one whose reader
// dawdles, although then no answer to a ping can be seen.
func TestQuietPeerIsNotDead(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	cfg := &ssmproto.Config{}
	cfg.SetPingAfter(400 * time.Millisecond)
	near := r.dial(t, cfg)
	far := r.far(t)
	time.Sleep(1500 * time.Millisecond) // without the answers to pings it would be dead
	data := random(8<<20, 3)
	go far.Write(data)
	waitFor(t, "a full buffer", func() bool { return near.Buffered() > 700<<10 })
	time.Sleep(1500 * time.Millisecond)
	if n := near.Buffered(); n > 10<<20 {
		t.Errorf("%d bytes buffered", n)
	}
	check(t, expect("down", near, data))
	if links := r.Sessions()[0].Links(); links != 1 {
		t.Errorf("%d links, want the first still", links)
	}
}

func TestFarSideEnds(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	near := r.dial(t, nil)
	far := r.far(t)
	want := random(3<<20, 4)
	go func() {
		far.Write(want)
		far.Close()
	}()
	waitFor(t, "end of the session", r.Sessions()[0].Ended)
	got, err := io.ReadAll(near)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, then %v", len(got), len(want), err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write after the end: %v", err)
	}
	near.Close()
	if n := r.Calls("TerminateSession"); n != 0 {
		t.Errorf("a session that was over was terminated %d times", n)
	}
}

func TestNothingListensOnThePort(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	r.listener.Close()
	near, err := r.tryDial(t, nil)
	if err == nil {
		send := []byte("hello")
		near.Write(send)
		_, err = near.Read(send)
	}
	if !errors.Is(err, ssmproto.ErrNotConnected) {
		t.Errorf("got %v", err)
	}
}

func TestServiceEndsTheSession(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, nil)
	r.far(t)
	r.Sessions()[0].End("Your administrator says good night")
	_, err := io.ReadAll(near)
	var closed *ssmproto.ClosedError
	if !errors.As(err, &closed) || !strings.Contains(closed.Reason, "good night") {
		t.Errorf("got %v", err)
	}
}

func TestSessionExpiresDuringAnOutage(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, nil)
	r.far(t)
	r.Offline(true)
	r.ExpireSessions()
	r.Offline(false)
	if _, err := io.ReadAll(near); !errors.Is(err, ssmproto.ErrSessionEnded) {
		t.Errorf("got %v", err)
	}
}

func TestResumeTimeout(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	var mu sync.Mutex
	var told int
	near := r.dial(t, &ssmproto.Config{
		ResumeTimeout: 300 * time.Millisecond,
		OnOutage: func(o ssmproto.Outage) {
			mu.Lock()
			defer mu.Unlock()
			told++
			if o.Over || o.Err == nil {
				t.Errorf("outage %+v", o)
			}
		},
	})
	r.far(t)
	r.Offline(true)
	_, err := io.ReadAll(near)
	var resume *ssmproto.ResumeError
	if !errors.As(err, &resume) || resume.After < 300*time.Millisecond {
		t.Errorf("got %v", err)
	}
	r.Offline(false) // or the session could not be terminated
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	r.wantNoSessions(t)
	mu.Lock()
	defer mu.Unlock()
	if told == 0 {
		t.Error("nobody was told of the outage")
	}
}

func TestAgentIsGone(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, &ssmproto.Config{ResumeTimeout: 500 * time.Millisecond})
	far := r.far(t)
	time.Sleep(600 * time.Millisecond) // with nothing to answer, silence is fine
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	r.KillAgents()
	check(t, send("up", near, []byte("anybody there?")))
	if _, err := io.ReadAll(near); !errors.Is(err, ssmproto.ErrAgentSilent) {
		t.Errorf("got %v", err)
	}
	near.Close()
	r.wantNoSessions(t)
}

// TestEveryOutageHasItsTime: the limit is an outage's, not the life's.
func TestEveryOutageHasItsTime(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, &ssmproto.Config{ResumeTimeout: 700 * time.Millisecond})
	far := r.far(t)
	for range 3 {
		r.Offline(true)
		time.Sleep(400 * time.Millisecond) // of the limit
		r.Offline(false)
		check(t, exchange(near, far, []byte("up"), []byte("down")))
	}
}

// TestLinksThatProveNothing: a service that takes us in and throws us out at
// once makes one outage, with a back-off and an end.
func TestLinksThatProveNothing(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, &ssmproto.Config{ResumeTimeout: time.Second})
	r.far(t)
	r.CutEach(func(int) (int64, ssmtest.Cut) { return 100, ssmtest.CutAbnormal })
	r.Cut(ssmtest.CutBye)
	_, err := io.ReadAll(near)
	var resume *ssmproto.ResumeError
	if !errors.As(err, &resume) {
		t.Errorf("got %v", err)
	}
	if n := r.Calls("ResumeSession"); n > 15 {
		t.Errorf("%d calls in a second", n)
	}
}

// TestIdleLinkProvesItself: without data the end of an outage is told too.
func TestIdleLinkProvesItself(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	over := make(chan ssmproto.Outage, 1)
	r.dial(t, &ssmproto.Config{OnOutage: func(o ssmproto.Outage) {
		if o.Over {
			over <- o
		}
	}})
	r.far(t)
	r.Cut(ssmtest.CutReset)
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Error("nobody was told")
	}
}

// TestAgentIsToldOfTheEnd by the flag, where the API's call is refused.
func TestAgentIsToldOfTheEnd(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, nil)
	far := r.far(t)
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	r.OnAPI(func(string) *ssmtest.APIError { return &ssmtest.APIError{Status: 400, Code: "AccessDeniedException"} })
	if err := near.Close(); err == nil {
		t.Error("nobody was told that the API refused")
	}
	waitFor(t, "end of the session", r.Sessions()[0].Ended)
}

// TestSlowReaderIsNoOutage: an agent that is held back by us does not count as
// silent.
func TestSlowReaderIsNoOutage(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	near := r.dial(t, &ssmproto.Config{ResumeTimeout: 300 * time.Millisecond})
	far := r.far(t)
	want := random(4<<20, 6)
	go far.Write(want)
	check(t, send("up", near, []byte("x")))
	waitFor(t, "full buffer", func() bool { return near.Buffered() > 700<<10 })
	check(t, send("up", near, []byte("unacknowledged for a while")))
	time.Sleep(600 * time.Millisecond)
	check(t, expect("down", near, want))
}

func TestOutageIsOvercome(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	over := make(chan ssmproto.Outage, 1)
	near := r.dial(t, &ssmproto.Config{OnOutage: func(o ssmproto.Outage) {
		if o.Over {
			over <- o
		}
	}})
	far := r.far(t)
	r.Offline(true)
	go func() {
		time.Sleep(400 * time.Millisecond)
		r.Offline(false)
	}()
	check(t, exchange(near, far, random(1<<20, 1), random(1<<20, 2)))
	if o := <-over; o.Lasted < 300*time.Millisecond {
		t.Errorf("told of %v", o.Lasted)
	}
}

func TestRefusedUpgrade(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	r.OnUpgrade(func(int) int { return 403 })
	_, err := r.tryDial(t, nil)
	var refused *ssmproto.UpgradeError
	if !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("got %v", err)
	}
	r.wantNoSessions(t)
}

func TestRefusedUpgradeOnResume(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, nil)
	far := r.far(t)
	// Once may be bad luck with a token; again and again is an answer.
	r.OnUpgrade(func(link int) int {
		if link == 1 || link > 2 {
			return 403
		}
		return 0
	})
	r.Cut(ssmtest.CutReset)
	check(t, exchange(near, far, []byte("still"), []byte("here")))
	r.Cut(ssmtest.CutReset)
	_, err := io.ReadAll(near)
	var refused *ssmproto.UpgradeError
	if !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	near.Close()
	r.wantNoSessions(t)
}

func TestDialGivesUp(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	r.StallAgent(true)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := ssmproto.Dial(ctx, r.NewClient(node, "22"), nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	r.StallAgent(false)
	r.wantNoSessions(t)
}

func TestCloseIsQuickWhateverHappens(t *testing.T) {
	faults := map[string]func(*rig){
		"nothing":         func(*rig) {},
		"a black hole":    func(r *rig) { r.BlackHole() },
		"a stalled agent": func(r *rig) { r.StallAgent(true) },
		"agents gone":     func(r *rig) { r.KillAgents() },
		"a cut":           func(r *rig) { r.Cut(ssmtest.CutBye) },
		"no network":      func(r *rig) { r.Offline(true) },
		"an expiry":       func(r *rig) { r.ExpireSessions() },
		"a throttled API ": func(r *rig) {
			r.OnAPI(func(string) *ssmtest.APIError { return &ssmtest.APIError{Status: 400, Code: "ThrottlingException"} })
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, ssmtest.Config{})
			near := r.dial(t, nil)
			far := r.far(t)
			check(t, send("up", near, []byte("x")))
			check(t, expect("up", far, []byte("x")))
			fault(r)
			writing := make(chan error, 1)
			go func() {
				_, err := near.Write(random(32<<20, 1)) // more than fits anywhere
				writing <- err
			}()
			start := time.Now()
			near.Close()
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("Close took %v", d)
			}
			if err := <-writing; err == nil {
				t.Error("Write succeeded")
			}
			if _, err := near.Read(make([]byte, 1)); err == nil {
				t.Error("Read succeeded")
			}
		})
	}
}

// TestCloseDelivers: what Write has taken arrives, as with TCP.
func TestCloseDelivers(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	r.SetPath(ssmtest.Path{Delay: 20 * time.Millisecond}, ssmtest.Path{Delay: 20 * time.Millisecond})
	near := r.dial(t, nil)
	far := r.far(t)
	want := random(20_000, 9)
	check(t, send("up", near, want))
	near.Close()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	r.wantNoSessions(t)
}

// TestAgentWithoutHandshake: very old agents start to talk at once.
func TestAgentWithoutHandshake(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoHandshake: true}})
	go func() {
		if c, ok := <-r.accepted; ok {
			c.Write([]byte("$ "))
			r.accepted <- c
		}
	}()
	near := r.dial(t, nil)
	if near.SessionType() != ssmproto.ShellSession {
		t.Errorf("session type %q", near.SessionType())
	}
	check(t, expect("prompt", near, []byte("$ ")))
}

func TestDeadlines(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, nil)
	r.far(t)
	near.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	r.StallAgent(true)
	near.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := near.Write(random(32<<20, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %d, %v", n, err)
	}
	r.StallAgent(false)
}

// TestNetConn runs the standard conformance test of net.Conn.
func TestNetConn(t *testing.T) {
	nettest.TestConn(t, func() (near, far net.Conn, stop func(), err error) {
		r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
		c, err := r.tryDial(t, nil)
		if err != nil {
			return nil, nil, nil, err
		}
		far = r.far(t)
		return c, far, func() { c.Close(); far.Close() }, nil
	})
}
