package ssmproto_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// rig is a service with one node, and a TCP port that the node's agent dials.
type rig struct {
	*ssmtest.Server
	accepted chan net.Conn
	listener net.Listener
	stop     func()
}

const node = "i-0123456789abcdef0"

// newRig starts a rig that ends with the test, which must leave nothing behind.
func newRig(t testing.TB, cfg ssmtest.Config) *rig {
	t.Helper()
	checkLeaks(t)
	r := startRig(t, cfg)
	t.Cleanup(r.stop)
	return r
}

func startRig(t testing.TB, cfg ssmtest.Config) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Server: ssmtest.NewServer(cfg), accepted: make(chan net.Conn, 16), listener: l}
	r.AddNode(ssmtest.Node{ID: node, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.accepted <- c
		}
	}()
	r.stop = sync.OnceFunc(func() {
		l.Close()
		<-done
		r.Close()
		for {
			select {
			case c := <-r.accepted:
				c.Close()
			default:
				return
			}
		}
	})
	return r
}

// checkLeaks fails the test if it leaves goroutines.
func checkLeaks(t testing.TB) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		var n int
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if n = runtime.NumGoroutine(); n <= before {
				return
			}
		}
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", before, n, buf[:runtime.Stack(buf, true)])
	})
}

func (r *rig) dial(t testing.TB, cfg *ssmproto.Config) *ssmproto.Conn {
	t.Helper()
	c, err := r.tryDial(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *rig) tryDial(t testing.TB, cfg *ssmproto.Config) (*ssmproto.Conn, error) {
	t.Helper()
	return r.dialSession(t, r.NewClient(node, "22"), cfg)
}

// dialSession dials through the rig's transport, unless cfg has its own.
func (r *rig) dialSession(t testing.TB, s ssmproto.Session, cfg *ssmproto.Config) (*ssmproto.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if cfg == nil {
		cfg = &ssmproto.Config{}
	}
	if cfg.Transport == nil {
		cfg.Transport = r.Transport()
	}
	c, err := ssmproto.Dial(ctx, s, cfg)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// dialBoth returns both ends of a new stream.
func (r *rig) dialBoth(t testing.TB, cfg *ssmproto.Config) (near *ssmproto.Conn, far net.Conn) {
	t.Helper()
	near = r.dial(t, cfg)
	return near, r.far(t)
}

// forward opens a port-forwarding session.
func (r *rig) forward(t testing.TB, cfg *ssmproto.Config) *ssmproto.Conn {
	t.Helper()
	c, err := r.dialSession(t, r.NewForwardClient(node, "db.example", "5432"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// far returns the far side's end of the stream that was dialled last.
func (r *rig) far(t testing.TB) net.Conn {
	t.Helper()
	select {
	case c := <-r.accepted:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("the agent did not dial its port")
		return nil
	}
}

func newMux(t testing.TB, c *ssmproto.Conn, keepAlive time.Duration) *ssmproto.Mux {
	t.Helper()
	m := ssmproto.NewMux(c, ssmproto.MuxConfig{KeepAlive: keepAlive})
	t.Cleanup(func() { m.Close() })
	return m
}

func open(t testing.TB, m *ssmproto.Mux) net.Conn {
	t.Helper()
	c, err := m.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pairs opens n connections and returns both ends of each: the agent dials in
// the order of opening.
func (r *rig) pairs(t testing.TB, m *ssmproto.Mux, n int) (near, far []net.Conn) {
	t.Helper()
	for range n {
		near = append(near, open(t, m))
		far = append(far, r.far(t))
	}
	return near, far
}

// exchangeAll sends size bytes each way over each pair, all at once.
func exchangeAll(t testing.TB, near, far []net.Conn, size int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range near {
		wg.Go(func() {
			check(t, exchange(near[i], far[i], random(size, uint64(2*i)), random(size, uint64(2*i+1))))
		})
	}
	wg.Wait()
}

func (r *rig) wantNoSessions(t testing.TB) {
	t.Helper()
	if n := r.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions linger in the account", n)
	}
}

// wantLinks checks how many links the first session has had.
func (r *rig) wantLinks(t testing.TB, want int) {
	t.Helper()
	if n := r.Sessions()[0].Links(); n != want {
		t.Errorf("%d links, want %d", n, want)
	}
}

// pingAfter returns a Config that notices a dead peer after three times d.
func pingAfter(d time.Duration) *ssmproto.Config {
	cfg := &ssmproto.Config{}
	cfg.SetPingAfter(d)
	return cfg
}

// untilOver returns a Config that tells of each outage when it is over.
func untilOver() (*ssmproto.Config, chan ssmproto.Outage) {
	over := make(chan ssmproto.Outage, 1)
	return &ssmproto.Config{OnOutage: func(o ssmproto.Outage) {
		if o.Over {
			over <- o
		}
	}}, over
}

// random returns n bytes that are different for each seed.
func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// exchange sends up and down at the same time and checks both.
func exchange(near, far net.Conn, up, down []byte) error {
	errs := make(chan error, 4)
	go func() { errs <- send("up", near, up) }()
	go func() { errs <- send("down", far, down) }()
	go func() { errs <- expect("up", far, up) }()
	go func() { errs <- expect("down", near, down) }()
	return errors.Join(<-errs, <-errs, <-errs, <-errs)
}

func send(what string, c net.Conn, data []byte) error {
	if n, err := c.Write(data); err != nil {
		return fmt.Errorf("%s: written %d of %d bytes: %w", what, n, len(data), err)
	}
	return nil
}

func expect(what string, c net.Conn, want []byte) error {
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	switch {
	case err != nil:
		return fmt.Errorf("%s: read %d of %d bytes: %w", what, n, len(want), err)
	case sha256.Sum256(got) != sha256.Sum256(want):
		return fmt.Errorf("%s: the bytes differ", what)
	}
	return nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s after 30 s", what)
		}
	}
}
