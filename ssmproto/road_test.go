package ssmproto_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// road is the way to the service, API and data channels, and the session that
// is opened over it. It is blocked without a word: what sets out meanwhile never
// comes to an end, as when a SYN is lost and sent again too late.
type road struct {
	ssmproto.Session
	blocked   atomic.Bool
	muffled   bool // what is lost then is not the SYN but what follows
	onlyDials bool // it is not blocked for the API

	slow      atomic.Bool
	call, way time.Duration // what Resume and connecting take then

	calls, dials atomic.Int32
	onCall       func(ctx context.Context, n int) error // of Resume, from 1
	onDial       func(net.Conn) net.Conn

	changed atomic.Pointer[func()] // see change
}

// change tells the Conn that the network has changed.
func (w *road) change() { (*w.changed.Load())() }

// dialOver dials over w, and for a change of the network listens to w alone.
func (r *rig) dialOver(t testing.TB, w *road, cfg *ssmproto.Config) *ssmproto.Conn {
	t.Helper()
	if cfg == nil {
		cfg = &ssmproto.Config{}
	}
	w.Session = r.NewClient(node, "22")
	cfg.Transport = r.Transport()
	cfg.Transport.DialContext = w.dial
	ready := make(chan struct{})
	cfg.SetWatch(func(ctx context.Context, changed func()) {
		w.changed.Store(&changed)
		close(ready)
		<-ctx.Done()
	})
	c, err := r.dialSession(t, w, cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-ready
	return c
}

func (w *road) Resume(ctx context.Context) (ssmproto.Grant, error) {
	n := int(w.calls.Add(1))
	if w.onCall != nil {
		if err := w.onCall(ctx, n); err != nil {
			return ssmproto.Grant{}, err
		}
	}
	if err := w.pass(ctx, w.blocked.Load() && !w.onlyDials, w.call); err != nil {
		return ssmproto.Grant{}, err
	}
	return w.Session.Resume(ctx)
}

func (w *road) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.dials.Add(1)
	if w.muffled && w.blocked.Load() {
		near, _ := net.Pipe()
		return near, nil
	}
	if err := w.pass(ctx, w.blocked.Load(), w.way); err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil && w.onDial != nil {
		conn = w.onDial(conn)
	}
	return conn, err
}

func (w *road) pass(ctx context.Context, blocked bool, d time.Duration) error {
	switch {
	case blocked:
		<-ctx.Done()
	case w.slow.Load():
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// within checks that bytes pass, and that they do in time.
func within(t testing.TB, what string, limit time.Duration, near, far net.Conn) {
	t.Helper()
	begun := time.Now()
	for _, c := range []net.Conn{near, far} {
		c.SetDeadline(begun.Add(20 * time.Second))
		defer c.SetDeadline(time.Time{})
	}
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	if d := time.Since(begun); d > limit {
		t.Errorf("%s took %v, want %v at most", what, d, limit)
	} else {
		t.Logf("%s took %v", what, d)
	}
}
