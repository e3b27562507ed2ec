package ssmproto_test

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestOutageIsOvercome(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	cfg, over := untilOver()
	near, far := r.dialBoth(t, cfg)
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

// TestEveryOutageHasItsTime: the limit is an outage's, not the life's.
func TestEveryOutageHasItsTime(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near, far := r.dialBoth(t, &ssmproto.Config{ResumeTimeout: 700 * time.Millisecond})
	for range 3 {
		r.Offline(true)
		time.Sleep(400 * time.Millisecond) // of the limit
		r.Offline(false)
		check(t, exchange(near, far, []byte("up"), []byte("down")))
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

func TestRefusedUpgradeOnResume(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near, far := r.dialBoth(t, nil)
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
	cfg, over := untilOver()
	r.dial(t, cfg)
	r.far(t)
	r.Cut(ssmtest.CutReset)
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Error("nobody was told")
	}
}

// TestSlowReaderIsNoOutage: an agent that is held back by us does not count as
// silent.
func TestSlowReaderIsNoOutage(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	near, far := r.dialBoth(t, &ssmproto.Config{ResumeTimeout: 300 * time.Millisecond})
	want := random(4<<20, 6)
	go far.Write(want)
	check(t, send("up", near, []byte("x")))
	waitFor(t, "full buffer", func() bool { return near.Buffered() > 700<<10 })
	check(t, send("up", near, []byte("unacknowledged for a while")))
	time.Sleep(600 * time.Millisecond)
	check(t, expect("down", near, want))
}
