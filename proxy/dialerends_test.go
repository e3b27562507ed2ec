package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestDialerErrors: what a program can decide on.
func TestDialerErrors(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.AddNode(awstest.Node{ID: rigtest.Node2, Name: "twin"})
	b.AddNode(awstest.Node{ID: "i-00000000000000001", Name: "twin"})
	b.AddNode(awstest.Node{ID: "i-00000000000000002", Name: "off", State: "stopped"})
	b.AddNode(awstest.Node{ID: "i-00000000000000003", Node: ssmtest.Node{NotConnected: true}})
	b.Deny("AWS-StartPortForwardingSessionToRemoteHost")
	as := func(target any) func(error) bool { return func(err error) bool { return errors.As(err, target) } }
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	var (
		network net.UnknownNetworkError
		address *net.AddrError
		api     smithy.APIError
	)
	for _, c := range []struct {
		via, network, address string
		is                    func(error) bool
	}{
		{"", "udp", rigtest.Node1 + ":7", as(&network)},
		{"", "tcp", rigtest.Node1, as(&address)},
		{"", "tcp", rigtest.Node1 + ":0", as(&address)},
		{"", "tcp", rigtest.Node1 + ":no such port", as(&address)},
		{"", "tcp", "fd00::1:22", as(&address)},
		{"", "tcp", ":22", is(proxy.ErrTarget)},
		{"", "tcp4", "ecs:web:22", is(proxy.ErrTarget)},
		{"", "tcp6", "nobody:22", is(proxy.ErrNoMachine)},
		{"", "tcp", "twin:22", is(proxy.ErrSeveral)},
		{"", "tcp", "off:22", is(proxy.ErrAway)},
		{"", "tcp", "i-00000000000000003:22", is(proxy.ErrAway)},
		{rigtest.Node1, "tcp", ":22", as(&address)},
		{"-", "tcp", "db:22", is(proxy.ErrTarget)},
		{rigtest.Node1, "tcp", "db.internal:22", is(fs.ErrPermission)},
		{rigtest.Node1, "tcp", "db.internal:22", as(&api)},
	} {
		d := newDialer(t, b.Server)
		d.Via = c.via
		_, err := d.DialContext(t.Context(), c.network, c.address)
		var op *net.OpError
		if err == nil || !c.is(err) || !errors.As(err, &op) || op.Op != "dial" || op.Timeout() || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s via %q: %v", c.network, c.address, c.via, err)
		}
	}
	rigtest.NoSessions(t, b)
}

// TestDialerRefused: it is the connection's first Read that learns of it.
func TestDialerRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssmtest.Config{"multiplexed": rigtest.Fast, "basic": rigtest.OldAgent} {
		t.Run(name, func(t *testing.T) {
			b := rigtest.NewBastion(t, cfg)
			d := newDialer(t, b.Server)
			c := dialled(t, d, rigtest.Node1+":7")
			c.Write([]byte("hello"))
			_, err := c.Read(make([]byte, 1))
			if !errors.Is(err, proxy.ErrRefused) || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("Read: %v", err)
			}
			c.Close()
			b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
			// An old agent's session ends with the refusal, maybe just now.
			rigtest.WaitFor(t, "a connection", func() bool { return answers(dialled(t, d, rigtest.Node1+":7"), "hello") == nil })
		})
	}
}

// TestDialerCancel: a dial that nobody waits for any more leaves nothing, and
// does not harm another.
func TestDialerCancel(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	d := newDialer(t, b.Server)
	asked, goOn := make(chan struct{}, 8), make(chan struct{})
	b.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "StartSession" {
			asked <- struct{}{}
			<-goOn
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	deadline, stop := context.WithDeadline(t.Context(), time.Now().Add(time.Second))
	defer stop()
	errs := make(chan error, 2)
	for _, ctx := range []context.Context{ctx, deadline} {
		go func() {
			_, err := d.DialContext(ctx, "tcp", rigtest.Node1+":7")
			errs <- err
		}()
	}
	<-asked
	cancel()
	var cancelled, late bool
	for range 2 {
		err := <-errs
		timeout, ok := err.(net.Error)
		cancelled = cancelled || errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
		late = late || errors.Is(err, context.DeadlineExceeded) && ok && timeout.Timeout()
	}
	if !cancelled || !late {
		t.Errorf("the one that was called off says so: %v; the one whose time was up: %v", cancelled, late)
	}
	close(goOn)
	if err := answers(dialled(t, d, rigtest.Node1+":7"), "hello"); err != nil {
		t.Error(err)
	}
	if n := b.Calls("StartSession"); n != 2 {
		t.Errorf("%d sessions were started: nobody waited for the first any more", n)
	}
	rigtest.WaitFor(t, "end of the other session", func() bool { return b.ActiveSessions() == 1 })
	if _, err := d.DialContext(ctx, "tcp", rigtest.Node1+":7"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestDialerClose: it ends connections, and dials that are under way.
func TestDialerClose(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	d := newDialer(t, b.Server)
	open := dialled(t, d, rigtest.Node1+":7")
	var readErr error
	closed := make(chan struct{}) // by Close
	go func() {
		_, readErr = open.Read(make([]byte, 1))
		close(closed)
	}()
	asked := make(chan struct{}, 8)
	b.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "StartSession" {
			asked <- struct{}{}
			<-closed // the answer comes when nobody wants it
		}
		return nil
	})
	dialling := make(chan error, 8)
	for i := range cap(dialling) {
		go func() {
			_, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", rigtest.Node1, 8+i))
			dialling <- err
		}()
	}
	<-asked
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closing.Wait()
	rigtest.NoSessions(t, b)
	for range cap(dialling) {
		if err := <-dialling; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a dial that was under way: %v", err)
		}
	}
	if <-closed; !errors.Is(readErr, net.ErrClosed) {
		t.Errorf("Read: %v", readErr)
	}
	if _, err := open.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
	if err := open.Close(); err != nil {
		t.Errorf("Close of the connection: %v", err)
	}
	if _, err := d.Dial("tcp", rigtest.Node1+":7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial: %v", err)
	}
	var unused proxy.Dialer
	if err := unused.Close(); err != nil {
		t.Error(err)
	}
	if _, err := unused.Dial("tcp", rigtest.Node1+":7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial: %v", err)
	}
}

// TestDialerEnd: the far side's end is io.EOF, and only that.
func TestDialerEnd(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	said := rigtest.Random(300_000, 3)
	b.Put("localhost:7", rigtest.ServeTCP(t, func(c net.Conn) { c.Write(said) }))
	b.Put("localhost:8", rigtest.ServeTCP(t, rigtest.Echo))
	d := newDialer(t, b.Server)
	got, err := io.ReadAll(dialled(t, d, rigtest.Node1+":7"))
	if err != nil {
		t.Error(err)
	}
	rigtest.Equal(t, "what the far side said", got, said)
	c := dialled(t, d, rigtest.Node1+":8")
	if err := answers(c, "hello"); err != nil {
		t.Error(err)
	}
	for _, s := range b.Sessions() {
		s.End("somebody has ended it")
	}
	if _, err := io.ReadAll(c); err == nil {
		t.Error("a session that was ended is no end of what the far side says")
	}
}

// TestDialerLeavesNothing: neither goroutines nor connections.
func TestDialerLeavesNothing(t *testing.T) {
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	before := numGoroutine()
	for range 3 {
		d := &proxy.Dialer{AWS: rigtest.AWSConfig(b.Server)}
		for i := range 3 {
			c := dialled(t, d, rigtest.Node1+":7")
			if err := answers(c, "hello"); err != nil {
				t.Error(err)
			}
			if i > 0 {
				go c.Read(make([]byte, 1))
			}
			if i > 1 {
				c.Close()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		d.DialContext(ctx, "tcp", rigtest.Node2+":7")
		cancel()
		d.Close()
	}
	rigtest.WaitFor(t, "end of the goroutines", func() bool { return numGoroutine() <= before })
	rigtest.NoSessions(t, b)
}

// numGoroutine counts those that are not the service's.
func numGoroutine() (n int) {
	buf := make([]byte, 4<<20)
	for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if !bytes.Contains(g, []byte("/ssmtest/")) && !bytes.Contains(g, []byte("net/http.(*conn).serve")) {
			n++
		}
	}
	return n
}
