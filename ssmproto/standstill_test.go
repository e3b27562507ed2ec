package ssmproto_test

import (
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestStandstillKeepsTheLink: the network stands still for longer than a link may
// be silent, and goes on. Nothing is lost with the link, so nothing is repeated.
func TestStandstillKeepsTheLink(t *testing.T) {
	for name, cfg := range map[string]ssmtest.Config{
		"plain": {}, // where the system accepts connections for a service that stands still
		"TLS":   {TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, cfg)
			told := make(chan ssmproto.Outage, 100)
			c := &ssmproto.Config{OnOutage: func(o ssmproto.Outage) { told <- o }}
			c.SetPingAfter(250 * time.Millisecond) // dead after 300 ms in a download, if anybody can be reached
			near, far := r.dialBoth(t, c)
			data := random(4<<20, 1)
			go far.Write(data)
			check(t, expect("down", near, data[:1<<20]))
			r.StandStill(true)
			begun := time.Now()
			for o := range told { // the network has been away for long enough
				if o.Over {
					t.Fatal("over already")
				}
				if time.Since(begun) > 2*time.Second {
					break
				}
			}
			r.StandStill(false)
			check(t, expect("down", near, data[1<<20:]))
			for o := range told {
				if o.Over {
					break
				}
			}
			if links, calls := r.Sessions()[0].Links(), r.Calls("ResumeSession"); links != 1 || calls != 0 {
				t.Errorf("%d links, %d calls of ResumeSession; want the first link still", links, calls)
			}
			if n := near.Repeated(); n > 50 {
				t.Errorf("%d messages came twice", n)
			}
		})
	}
}

// TestDeadLinkInADownloadIsReplaced once others can be made, and not only at the
// end of the longest grace.
func TestDeadLinkInADownloadIsReplaced(t *testing.T) {
	r := newRig(t, ssmtest.Config{TLS: true, Agent: ssmtest.Agent{ResendEvery: 5 * time.Millisecond}})
	near, far := r.dialBoth(t, pingAfter(250*time.Millisecond))
	data := random(2<<20, 1)
	go far.Write(data)
	check(t, expect("down", near, data[:1<<20]))
	r.BlackHole()
	begun := time.Now()
	near.SetReadDeadline(begun.Add(20 * time.Second))
	check(t, expect("down", near, data[1<<20:]))
	t.Logf("done after %v", time.Since(begun))
	r.wantLinks(t, 2)
}

// TestRepetitionIsTold: what was lost with a link in a download is told with the
// time that it takes, once.
func TestRepetitionIsTold(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{ResendEvery: 10 * time.Millisecond}})
	told := make(chan ssmproto.Repeat, 10)
	c := &ssmproto.Config{OnRepeat: func(r ssmproto.Repeat) { told <- r }}
	c.SetPingAfter(250 * time.Millisecond)
	near, far := r.dialBoth(t, c)
	data := random(6<<20, 1)
	go far.Write(data)
	check(t, expect("down", near, data[:1<<20]))
	r.BlackHole()
	check(t, expect("down", near, data[1<<20:]))
	if n := len(told); n != 1 {
		t.Fatalf("told %d times", n)
	}
	if r := <-told; r.Messages < 30 || r.Takes != time.Duration(r.Messages)*100*time.Millisecond {
		t.Errorf("told of %+v", r)
	}
}

// TestStandstillIsNoSilentAgent: while the network is away, the agent is not
// blamed.
func TestStandstillIsNoSilentAgent(t *testing.T) {
	r := newRig(t, ssmtest.Config{TLS: true})
	outage := make(chan ssmproto.Outage, 100)
	c := &ssmproto.Config{
		OnOutage:  func(o ssmproto.Outage) { outage <- o },
		OnSilence: func(s ssmproto.Silence) { t.Errorf("told of %+v", s) },
	}
	c.SetPingAfter(100 * time.Millisecond)
	c.SetSilenceAfter(time.Second)
	near, far := r.dialBoth(t, c)
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	r.StandStill(true)
	check(t, send("up", near, []byte("more")))
	for (<-outage).Lasted < 4*time.Second {
	}
	r.StandStill(false)
	check(t, exchange(near, far, nil, []byte("and back")))
	check(t, expect("up", far, []byte("more")))
}
