package ssmproto_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestDeadPeerIsReplaced(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near, far := r.dialBoth(t, pingAfter(50*time.Millisecond))
	check(t, send("up", near, []byte("before")))
	check(t, expect("up", far, []byte("before")))
	r.BlackHole()
	check(t, exchange(near, far, random(100_000, 1), random(100_000, 2)))
	r.wantLinks(t, 2)
}

// TestQuietPeerIsNotDead: an idle session is kept, and so is one whose reader
// dawdles, although then no answer to a ping can be seen.
func TestQuietPeerIsNotDead(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	near, far := r.dialBoth(t, pingAfter(400*time.Millisecond))
	time.Sleep(1500 * time.Millisecond) // without the answers to pings it would be dead
	data := random(8<<20, 3)
	go far.Write(data)
	waitFor(t, "a full buffer", func() bool { return near.Buffered() > 700<<10 })
	time.Sleep(1500 * time.Millisecond)
	if n := near.Buffered(); n > 10<<20 {
		t.Errorf("%d bytes buffered", n)
	}
	check(t, expect("down", near, data))
	r.wantLinks(t, 1)
}

func TestAgentIsGone(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near, far := r.dialBoth(t, &ssmproto.Config{ResumeTimeout: 500 * time.Millisecond})
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
