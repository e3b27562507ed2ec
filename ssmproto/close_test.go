package ssmproto_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestAgentIsToldOfTheEnd by the flag, where the API's call is refused.
func TestAgentIsToldOfTheEnd(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near, far := r.dialBoth(t, nil)
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	r.OnAPI(func(string) *ssmtest.APIError { return &ssmtest.APIError{Status: 400, Code: "AccessDeniedException"} })
	if err := near.Close(); err == nil {
		t.Error("nobody was told that the API refused")
	}
	waitFor(t, "end of the session", r.Sessions()[0].Ended)
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
			near, far := r.dialBoth(t, nil)
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
	near, far := r.dialBoth(t, nil)
	want := random(20_000, 9)
	check(t, send("up", near, want))
	near.Close()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	r.wantNoSessions(t)
}
