package ssmproto_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// silences returns a Config whose Conn is impatient, and what it is told.
func silences() (*ssmproto.Config, chan ssmproto.Silence) {
	told := make(chan ssmproto.Silence, 16)
	cfg := &ssmproto.Config{OnSilence: func(s ssmproto.Silence) { told <- s }}
	cfg.SetSilenceAfter(300 * time.Millisecond)
	return cfg, told
}

func nextSilence(t *testing.T, told chan ssmproto.Silence, over bool) {
	t.Helper()
	select {
	case s := <-told:
		if s.Over != over || s.Lasted < 300*time.Millisecond {
			t.Errorf("told of %+v, want over: %v", s, over)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("nobody was told, over: %v", over)
	}
}

// TestRebootEndsTheSession: once the service says that it no longer has the
// session there is nothing to wait for.
func TestRebootEndsTheSession(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	cfg, told := silences()
	near := r.dial(t, cfg)
	check(t, exchange(near, r.far(t), []byte("up"), []byte("down")))
	back := r.Reboot(node)
	check(t, send("up", near, []byte("anybody there?")))
	nextSilence(t, told, false)
	waitFor(t, "the service", func() bool { return r.Sessions()[0].Resumes() > 0 })
	// While it reboots the service still has the session.
	if err := near.Err(); err != nil {
		t.Fatalf("ended during the reboot: %v", err)
	}
	back()
	_, err := io.ReadAll(near)
	var gone *ssmproto.GoneError
	if !errors.As(err, &gone) || !gone.Silent || !errors.Is(err, ssmproto.ErrSessionEnded) {
		t.Errorf("got %v", err)
	}
	if n := r.Sessions()[0].Links(); n != 1 {
		t.Errorf("%d links: the tokens were used", n)
	}
}

// TestBusyAgentKeepsItsSession: as long as the service has the session a silent
// agent is waited for, on the same link, and nothing is lost.
func TestBusyAgentKeepsItsSession(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	cfg, told := silences()
	near, far := r.dialBoth(t, cfg)
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	r.StallAgent(true)
	check(t, send("up", near, []byte("anybody there?")))
	nextSilence(t, told, false)
	waitFor(t, "the service", func() bool { return r.Sessions()[0].Resumes() >= 3 })
	lasted, pending, news := near.Silence()
	if lasted < 300*time.Millisecond || pending != 1 {
		t.Errorf("silence for %v, %d pending", lasted, pending)
	}
	r.StallAgent(false)
	nextSilence(t, told, true)
	<-news
	check(t, expect("up", far, []byte("anybody there?")))
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	if n := r.Sessions()[0].Links(); n != 1 {
		t.Errorf("%d links: the tokens were used", n)
	}
}

// TestSilenceAfterAPause: what was sent after a long time with nothing to answer
// has all the time that there is.
func TestSilenceAfterAPause(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near, far := r.dialBoth(t, &ssmproto.Config{ResumeTimeout: 3 * time.Second})
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	time.Sleep(3500 * time.Millisecond) // more than the limit
	r.StallAgent(true)
	begun := time.Now()
	near.SendFlag(0) // as a keep-alive
	<-near.Done()
	if lasted := time.Since(begun); lasted < 3*time.Second || !errors.Is(near.Err(), ssmproto.ErrAgentSilent) {
		t.Errorf("ended after %v: %v", lasted, near.Err())
	}
	r.StallAgent(false)
}

// TestSilenceMayNotAsk: where the service must not be asked the agent is waited
// for all the same.
func TestSilenceMayNotAsk(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	cfg, told := silences()
	near, far := r.dialBoth(t, cfg)
	r.OnAPI(func(operation string) *ssmtest.APIError {
		if operation != "ResumeSession" {
			return nil
		}
		return &ssmtest.APIError{Status: 400, Code: "AccessDeniedException", Message: "not authorized to perform: ssm:ResumeSession"}
	})
	r.StallAgent(true)
	check(t, send("up", near, []byte("anybody there?")))
	nextSilence(t, told, false)
	waitFor(t, "the service", func() bool { return r.Calls("ResumeSession") > 0 })
	r.StallAgent(false)
	nextSilence(t, told, true)
	check(t, expect("up", far, []byte("anybody there?")))
}

// TestLinkLostInSilence: an outage in the midst of it is overcome as ever.
func TestLinkLostInSilence(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	cfg, told := silences()
	near, far := r.dialBoth(t, cfg)
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	r.StallAgent(true)
	check(t, send("up", near, []byte("anybody there?")))
	nextSilence(t, told, false)
	r.Cut(ssmtest.CutReset)
	waitFor(t, "the service", func() bool { return r.Sessions()[0].Links() >= 2 })
	r.StallAgent(false)
	nextSilence(t, told, true)
	check(t, expect("up", far, []byte("anybody there?")))
	check(t, exchange(near, far, []byte("up"), []byte("down")))
}
