package ssmproto_test

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestNetworkIsBackUnannounced: what hangs from before is not waited for, or not
// for long.
func TestNetworkIsBackUnannounced(t *testing.T) {
	var all sync.WaitGroup
	for _, c := range []struct {
		lost  string
		tls   bool
		road  *road
		limit time.Duration
	}{
		{"SYN", true, &road{}, 2 * time.Second},
		{"TLS handshake", true, &road{muffled: true}, 2 * time.Second},
		{"upgrade, after a call of Resume", false, &road{muffled: true, onlyDials: true}, 4 * time.Second},
	} {
		r, w := newRig(t, ssmtest.Config{TLS: c.tls}), c.road
		near := r.dialOver(t, w, pingAfter(200*time.Millisecond))
		far := r.far(t)
		all.Go(func() {
			w.blocked.Store(true)
			r.BlackHole()
			time.Sleep(3 * time.Second) // of outage
			w.blocked.Store(false)
			within(t, c.lost+" lost", c.limit, near, far)
		})
	}
	all.Wait()
}

// TestTimeoutIsNoAnswer: a connection that has had its time says nothing about
// the others.
func TestTimeoutIsNoAnswer(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	var dials atomic.Int32
	cfg := &ssmproto.Config{Transport: r.Transport()}
	cfg.Transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		switch dials.Add(1) {
		case 1:
			<-ctx.Done()
			return nil, ctx.Err()
		case 2: // so the dialer reports it, and often before the context has ended
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	near := r.dial(t, cfg)
	within(t, "it", time.Second, near, r.far(t))
	if n := r.Calls("ResumeSession"); n != 0 {
		t.Errorf("it took %d more attempts", n)
	}
}

// TestCallThatHangsAlone: the API is called over a connection that was kept,
// and that does not reach it any more.
func TestCallThatHangsAlone(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	w := &road{onCall: func(ctx context.Context, n int) error {
		if n > 1 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	near := r.dialOver(t, w, nil)
	far := r.far(t)
	r.Cut(ssmtest.CutReset)
	within(t, "it", 3*time.Second, near, far)
}

// TestSlowPathIsGivenItsTime: to connect takes longer than what is begun beside
// it may take, and nothing is given up. Where the network changes all the time
// much is, but not for ever.
func TestSlowPathIsGivenItsTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 9 s")
	}
	var both sync.WaitGroup
	{
		r := newRig(t, ssmtest.Config{})
		w := &road{way: 3500 * time.Millisecond, call: 4500 * time.Millisecond}
		near := r.dialOver(t, w, nil)
		far := r.far(t)
		both.Go(func() {
			w.slow.Store(true)
			r.Cut(ssmtest.CutReset)
			within(t, "a slow path", 6*time.Second, near, far)
			if n := w.calls.Load(); n != 1 {
				t.Errorf("Resume was called %d times", n)
			}
		})
	}
	{
		r := newRig(t, ssmtest.Config{})
		w := &road{way: 1500 * time.Millisecond, call: 2200 * time.Millisecond}
		near := r.dialOver(t, w, nil)
		far := r.far(t)
		ended := make(chan struct{})
		both.Go(func() {
			w.slow.Store(true)
			r.Cut(ssmtest.CutReset)
			within(t, "a slow and restless path", 9*time.Second, near, far)
			close(ended)
		})
		both.Go(func() {
			for {
				select {
				case <-time.After(50 * time.Millisecond):
					w.change()
				case <-ended:
					return
				}
			}
		})
	}
	both.Wait()
}

func TestChangeOfNetworkEndsTheWaitForTheNextAttempt(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	w := &road{}
	failed := make(chan struct{}, 100)
	near := r.dialOver(t, w, &ssmproto.Config{OnOutage: func(o ssmproto.Outage) {
		if !o.Over {
			failed <- struct{}{}
		}
	}})
	far := r.far(t)
	r.Offline(true)
	begun := time.Now()
	for range 30 { // half a minute of waiting
		<-failed
		w.change()
	}
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("30 attempts took %v", d)
	}
	r.Offline(false)
	w.change()
	check(t, exchange(near, far, []byte("up"), []byte("down")))
}

func TestChangeOfNetworkReplacesWhatHangs(t *testing.T) {
	t.Run("a call of Resume", func(t *testing.T) {
		r := newRig(t, ssmtest.Config{})
		w := &road{}
		began := make(chan time.Time, 1)
		var lasted time.Duration
		w.onCall = func(ctx context.Context, n int) error {
			if n > 1 {
				w.blocked.Store(false)
				return nil
			}
			begun := time.Now()
			began <- begun
			<-ctx.Done()
			lasted = time.Since(begun)
			return ctx.Err()
		}
		near := r.dialOver(t, w, nil)
		far := r.far(t)
		w.blocked.Store(true) // so that no connection tells that the call hangs
		r.Cut(ssmtest.CutReset)
		<-began
		w.change()
		within(t, "it", 3*time.Second, near, far)
		if lasted < 900*time.Millisecond {
			t.Errorf("a call was given up after %v already", lasted)
		}
	})
	t.Run("a connection", func(t *testing.T) {
		r := newRig(t, ssmtest.Config{})
		w := &road{onlyDials: true}
		w.onCall = func(_ context.Context, n int) error {
			w.blocked.Store(n == 1)
			return nil
		}
		near := r.dialOver(t, w, nil)
		far := r.far(t)
		w.blocked.Store(true)
		before := w.dials.Load()
		r.Cut(ssmtest.CutReset)
		waitFor(t, "connection beside the first", func() bool { return w.dials.Load() >= before+2 })
		w.change()
		within(t, "it", 3*time.Second, near, far)
	})
}

// TestChangeOfNetworkDuringACall: what was connected before, beside the call, is
// not used any more.
func TestChangeOfNetworkDuringACall(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	w := &road{onlyDials: true, muffled: true} // without TLS one is connected at once
	w.onCall = func(context.Context, int) error {
		for w.dials.Load() == 1 { // the first link is all there was
			time.Sleep(time.Millisecond)
		}
		w.blocked.Store(false)
		w.change()
		return nil
	}
	near := r.dialOver(t, w, nil)
	far := r.far(t)
	w.blocked.Store(true)
	r.Cut(ssmtest.CutReset)
	within(t, "it", 2*time.Second, near, far)
}

// elsewhere is a connection from an address that this machine does not have.
type elsewhere struct{ net.Conn }

func (elsewhere) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 77), Port: 1} }

func TestChangeOfNetworkEndsALinkFromAnAddressThatIsGone(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	var dials atomic.Int32
	w := &road{onDial: func(c net.Conn) net.Conn {
		if dials.Add(1) == 1 {
			return elsewhere{c}
		}
		return c
	}}
	near := r.dialOver(t, w, nil)
	far := r.far(t)
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	w.change()
	// The link is fine, so nothing else would end it.
	waitFor(t, "second link", func() bool { return r.Sessions()[0].Links() == 2 })
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	w.change()
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	if n := r.Sessions()[0].Links(); n != 2 {
		t.Errorf("%d links: an address that is there was taken for gone", n)
	}
}

// TestChangeOfNetworkPutsTheLinkInDoubt: a link that is dead is replaced soon,
// and none that is not, be it idle or be its reader slow.
func TestChangeOfNetworkPutsTheLinkInDoubt(t *testing.T) {
	var all sync.WaitGroup
	start := func(cfg ssmtest.Config, f func(r *rig, w *road, near *ssmproto.Conn, far net.Conn)) {
		r, w := newRig(t, cfg), &road{}
		near := r.dialOver(t, w, nil)
		far := r.far(t)
		check(t, exchange(near, far, []byte("up"), []byte("down")))
		all.Go(func() { f(r, w, near, far) })
	}
	start(ssmtest.Config{}, func(r *rig, w *road, near *ssmproto.Conn, far net.Conn) { // dead
		r.BlackHole()
		w.change()
		within(t, "a dead link", 4*time.Second, near, far)
	})
	start(ssmtest.Config{}, func(r *rig, w *road, near *ssmproto.Conn, far net.Conn) { // idle
		time.Sleep(1200 * time.Millisecond) // until the first ping, which is sent anyway, is over
		w.change()
		time.Sleep(2500 * time.Millisecond)
		check(t, exchange(near, far, []byte("up"), []byte("down")))
		r.wantLinks(t, 1)
	})
	unread := ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}}
	start(unread, func(r *rig, w *road, near *ssmproto.Conn, far net.Conn) {
		data := random(8<<20, 3)
		go far.Write(data)
		for near.Buffered() < 700<<10 {
			time.Sleep(time.Millisecond)
		}
		w.change()
		time.Sleep(2500 * time.Millisecond)
		check(t, expect("down", near, data))
		r.wantLinks(t, 1)
	})
	all.Wait()
}
