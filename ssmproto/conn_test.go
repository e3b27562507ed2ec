package ssmproto_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
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

func TestFarSideEnds(t *testing.T) {
	r := newRig(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}})
	near, far := r.dialBoth(t, nil)
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
