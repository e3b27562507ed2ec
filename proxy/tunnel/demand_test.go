package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// demandRig is a service and tunnels to it whose sessions soon are idle.
type demandRig struct {
	*awstest.Server
	tunnels OnDemand[string] // by port
	failed  atomic.Pointer[error]
}

func newDemandRig(t *testing.T, idle time.Duration, agent string) *demandRig {
	r := &demandRig{Server: awstest.NewServer(awstest.Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true, Version: agent}}})}
	t.Cleanup(r.Server.Close)
	const node = "i-0123456789abcdef0"
	r.AddNode(awstest.Node{ID: node, Node: ssmtest.Node{Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go io.Copy(far, far)
		return near, nil
	}}})
	ctx, stop := context.WithCancel(context.Background())
	r.tunnels.Run(ctx, func(port string) *Tunnel {
		return &Tunnel{
			Open: func(ctx context.Context) (stream.Port, error) {
				if err := r.failed.Load(); err != nil {
					return nil, *err
				}
				conn, err := ssmproto.Dial(ctx, r.NewForwardClient(node, "", port), nil)
				if err != nil {
					return nil, err
				}
				return ssmproto.NewPort(conn, ssmproto.MuxConfig{}), nil
			},
			Log:    func(string, ...any) {},
			Demand: 1,
			Idle:   idle,
		}
	})
	t.Cleanup(func() {
		stop()
		r.tunnels.Close()
		if n := r.ActiveSessions(); n > 0 {
			t.Errorf("%d sessions", n)
		}
	})
	return r
}

func (r *demandRig) known() int {
	r.tunnels.mu.Lock()
	defer r.tunnels.mu.Unlock()
	return len(r.tunnels.all)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s after 20 s", what)
		}
	}
}

// TestDemandIdle: a session stays while there is a connection, and for a while
// after; then nothing is left of it.
func TestDemandIdle(t *testing.T) {
	t.Parallel()
	for _, agent := range []string{"3.3.0.0", "3.0.100.0"} {
		r := newDemandRig(t, 50*time.Millisecond, agent)
		for range 3 {
			c, err := r.tunnels.Dial(t.Context(), "7")
			if err != nil {
				t.Fatal(err)
			}
			// Longer than a session stays that has none.
			for range 4 {
				time.Sleep(50 * time.Millisecond)
				io.WriteString(c, "x")
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatalf("agent %s: %v", agent, err)
				}
			}
			c.Close()
			eventually(t, "end of the session", func() bool { return r.ActiveSessions() == 0 && r.known() == 0 })
		}
		// More than three if one was idle before the dial had it.
		if n := r.Calls("StartSession"); n < 3 {
			t.Errorf("agent %s: %d sessions", agent, n)
		}
	}
}

// TestDemandShared: who comes back in time has the same session.
func TestDemandShared(t *testing.T) {
	t.Parallel()
	r := newDemandRig(t, time.Minute, "3.3.0.0")
	for range 5 {
		c, err := r.tunnels.Dial(t.Context(), "7")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if n := r.Calls("StartSession"); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestDemandFails: the failure is the dial's, all that wait for the same have
// it, and nothing is left that tries again.
func TestDemandFails(t *testing.T) {
	t.Parallel()
	r := newDemandRig(t, time.Minute, "3.3.0.0")
	wanted := errors.New("it is not there")
	r.failed.Store(&wanted)
	errs := make(chan error)
	for range 20 {
		go func() {
			_, err := r.tunnels.Dial(t.Context(), "7")
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; !errors.Is(err, wanted) {
			t.Error(err)
		}
	}
	eventually(t, "end of the tunnel", func() bool { return r.known() == 0 })
	r.failed.Store(nil)
	c, err := r.tunnels.Dial(t.Context(), "7")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestDemandBudget: there are no more sessions than there may be. One that
// nobody uses makes room, that which was used longest ago first.
func TestDemandBudget(t *testing.T) {
	t.Parallel()
	r := newDemandRig(t, time.Minute, "3.3.0.0")
	r.tunnels.budget = &budget{most: 3}
	dial := func(to string) net.Conn {
		t.Helper()
		c, err := r.tunnels.Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if n := r.ActiveSessions(); n > 3 {
			t.Errorf("%d sessions", n)
		}
		return c
	}
	refused := func(to string) {
		t.Helper()
		begun := time.Now()
		if _, err := r.tunnels.Dial(t.Context(), to); !errors.Is(err, ErrManySessions) || time.Since(begun) > 10*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	}
	one, two, three := dial("1"), dial("2"), dial("3")
	for range 50 {
		refused("4")
	}
	dial("1").Close() // where there is a session it goes on
	two.Close()
	one.Close()
	four := dial("4")
	if n := r.Calls("StartSession"); n != 4 {
		t.Errorf("%d sessions", n)
	}
	dial("1").Close() // it was used last, and is still there
	if n := r.Calls("StartSession"); n != 4 {
		t.Errorf("%d sessions", n)
	}
	dial("2").Close()
	three.Close()
	four.Close()
	var wg sync.WaitGroup
	for i := range 20 { // many at once
		wg.Go(func() {
			if c, err := r.tunnels.Dial(t.Context(), fmt.Sprint(100+i)); err == nil {
				io.WriteString(c, "x")
				io.ReadFull(c, make([]byte, 1))
				c.Close()
			} else if !errors.Is(err, ErrManySessions) {
				t.Error(err)
			}
			if n := r.ActiveSessions(); n > 3 {
				t.Errorf("%d sessions", n)
			}
		})
	}
	wg.Wait()
}
