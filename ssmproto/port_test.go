package ssmproto_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestPortOneAfterTheOther: with an agent that has no multiplexer, what comes for
// a connection that is closed never reaches the next one.
func TestPortOneAfterTheOther(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true, Version: "3.0.100.0"}})
	p := ssmproto.NewPort(r.forward(t, nil), ssmproto.MuxConfig{})
	defer p.Close()
	if p.Multiplexed() {
		t.Fatal("an old agent's port is multiplexed")
	}
	for i := range byte(3) {
		c, err := p.Open(t.Context())
		check(t, err)
		check(t, send("up", c, []byte{i})) // for this the agent dials again
		far := r.far(t)
		check(t, expect("up", far, []byte{i}))
		check(t, exchange(c, far, []byte("up"), []byte("down")))
		far.Write([]byte("too late"))
		check(t, c.Close())
		far.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, far); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the agent has not hung up") // how it does depends on what it has read
		}
	}
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

// TestPortManyAtATime: a Port of an agent with a multiplexer ends all of its
// connections, and its session.
func TestPortManyAtATime(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	p := ssmproto.NewPort(r.forward(t, nil), ssmproto.MuxConfig{})
	one, err := p.Open(t.Context())
	check(t, err)
	oneFar := r.far(t)
	two, err := p.Open(t.Context())
	check(t, err)
	twoFar := r.far(t)
	check(t, exchange(one, oneFar, []byte("up"), []byte("down")))
	check(t, exchange(two, twoFar, []byte("up"), []byte("down")))
	check(t, p.Close())
	<-p.Done()
	if _, err := two.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a connection after Close: %v", err)
	}
	if c, err := p.Open(t.Context()); err == nil {
		t.Errorf("opened %v after Close", c)
	}
}
