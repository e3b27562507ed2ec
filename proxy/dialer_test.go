package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// newDialer returns one that uses srv, and is closed with the test.
func newDialer(t testing.TB, srv *awstest.Server) *proxy.Dialer {
	d := &proxy.Dialer{AWS: rigtest.AWSConfig(srv)}
	t.Cleanup(func() { d.Close() })
	return d
}

// dialled dials, which must work.
func dialled(t testing.TB, d *proxy.Dialer, address string) net.Conn {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// answers wants a text echoed over c.
func answers(c net.Conn, text string) error {
	c.SetDeadline(time.Now().Add(time.Minute))
	defer c.SetDeadline(time.Time{})
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, text)
		sent <- err
	}()
	got := make([]byte, len(text))
	n, err := io.ReadFull(c, got)
	if err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, len(text), err)
	}
	if string(got) != text {
		return fmt.Errorf("%d bytes came back otherwise", len(text))
	}
	return <-sent
}

// TestDialer: all ways to say where to.
func TestDialer(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	b.Put("db.internal:7", rigtest.ServeTCP(t, rigtest.Echo))
	b.Put("fd00::7:7", rigtest.ServeTCP(t, rigtest.Echo)) // as the agent writes it
	b.Put("[fd00::7]:7", rigtest.ServeTCP(t, rigtest.Echo))
	b.AddNode(awstest.Node{ID: rigtest.Node2, Name: "web-1", Tags: map[string]string{"role": "db"}, PrivateIP: "10.0.3.7", Node: ssmtest.Node{Dial: b.Dial}})
	task := b.AddTask(awstest.Task{Cluster: "web", ID: "1", Containers: []awstest.Container{{Name: "app", Node: ssmtest.Node{Dial: b.Dial}}}})
	for _, c := range []struct{ via, address string }{
		{"", rigtest.Node1 + ":7"},
		{"", "web-1:7"},
		{"", "tag:role=db:7"},
		{"", "10.0.3.7:echo"},
		{"", "web-1--us-east-1:7"},
		{"", "ecs:web/1/app:7"},
		{"", task.Target(&task.Containers[0]) + ":7"},
		{rigtest.Node1, "db.internal:7"},
		{rigtest.Node1, "localhost:7"},
		{"web-1", "[fd00::7]:7"},
	} {
		t.Run(c.via+" "+c.address, func(t *testing.T) {
			d := newDialer(t, b.Server)
			d.Via = c.via
			conn := dialled(t, d, c.address)
			if err := answers(conn, strings.Repeat("hello ", 50000)); err != nil {
				t.Error(err)
			}
			if a := conn.RemoteAddr(); a.Network() != "tcp" || a.String() != c.address {
				t.Errorf("RemoteAddr %s %s", a.Network(), a)
			}
			if _, ok := conn.LocalAddr().(*net.TCPAddr); !ok {
				t.Errorf("LocalAddr %v", conn.LocalAddr())
			}
		})
	}
	rigtest.WaitFor(t, "end of the sessions", func() bool { return b.ActiveSessions() == 0 })
}

// TestDialerDefaults: the zero value goes by the environment.
func TestDialerDefaults(t *testing.T) {
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	for _, v := range b.Server.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	var d proxy.Dialer
	defer d.Close()
	c, err := d.Dial("tcp", rigtest.Node1+":7")
	if err != nil {
		t.Fatal(err)
	}
	if err := answers(c, "hello"); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_REGION", "")
	var lost proxy.Dialer
	defer lost.Close()
	if _, err := lost.Dial("tcp", rigtest.Node1+":7"); !errors.Is(err, proxy.ErrNoRegion) {
		t.Errorf("without a region: %v", err)
	}
	lost.Close()
	lost = proxy.Dialer{Region: "us-east-1"}
	if _, err := lost.Dial("tcp", rigtest.Node1+":7"); err != nil {
		t.Error(err)
	}
}

// TestDialerMany: 200 connections dialled at once go over one session, through
// a cut, and those that follow too.
func TestDialerMany(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	d := newDialer(t, b.Server)
	const n = 200
	var all sync.WaitGroup
	var dialling, half sync.WaitGroup
	dialling.Add(n)
	half.Add(n)
	for i := range n {
		all.Go(func() {
			c, err := d.DialContext(t.Context(), "tcp", rigtest.Node1+":7")
			dialling.Done()
			if err != nil {
				half.Done()
				t.Error(err)
				return
			}
			defer c.Close()
			if err := answers(c, strings.Repeat(fmt.Sprint(i), 1000)); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
			half.Done()
			half.Wait()
			if err := answers(c, strings.Repeat(fmt.Sprint(i), 1000)); err != nil {
				t.Errorf("connection %d after the cut: %v", i, err)
			}
		})
	}
	dialling.Wait()
	half.Wait()
	b.Cut(ssmtest.CutReset)
	all.Wait()
	if n := b.Calls("StartSession"); n != 1 {
		t.Errorf("%d sessions", n)
	}
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
}

// TestDialerCut: a transfer goes on through cuts of all kinds.
func TestDialerCut(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	kinds := []ssmtest.Cut{ssmtest.CutBye, ssmtest.CutReset}
	b.CutEach(func(link int) (int64, ssmtest.Cut) {
		if link >= 6 {
			return -1, 0
		}
		return 300_000, kinds[link%len(kinds)]
	})
	c := dialled(t, newDialer(t, b.Server), rigtest.Node1+":7")
	sent := rigtest.Random(4<<20, 5)
	go c.Write(sent)
	c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Error(err)
	}
	rigtest.Equal(t, "echo", got, sent)
	if n := b.Sessions()[0].Resumes(); n < 4 {
		t.Errorf("%d resumes", n)
	}
}

// TestDialerReboot: connections that go with the session fail, dials fail while
// the machine is away and say so, and work when it is back. Nobody tries
// meanwhile.
func TestDialerReboot(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	d := newDialer(t, b.Server)
	d.ResumeTimeout = time.Second
	c := dialled(t, d, rigtest.Node1+":7")
	if err := answers(c, "hello"); err != nil {
		t.Fatal(err)
	}
	back := b.Reboot(rigtest.Node1)
	go c.Write([]byte("is anybody there?"))
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("from a machine that is off: %d, %v", n, err)
	}
	rigtest.WaitFor(t, "end of the session", func() bool { return b.ActiveSessions() == 0 })
	for range 2 {
		_, err := d.DialContext(t.Context(), "tcp", rigtest.Node1+":7")
		if !errors.Is(err, proxy.ErrAway) || !strings.Contains(err.Error(), rigtest.Node1) {
			t.Errorf("dialling a machine that is off: %v", err)
		}
	}
	started := b.Calls("StartSession")
	if started != 3 {
		t.Errorf("StartSession was called %d times", started)
	}
	back()
	if err := answers(dialled(t, d, rigtest.Node1+":7"), "after the reboot"); err != nil {
		t.Error(err)
	}
	if n := b.Calls("StartSession"); n != started+1 {
		t.Errorf("StartSession was called %d times more", n-started)
	}
}

// TestDialerConn: deadlines and Close call off what is under way.
func TestDialerConn(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssmtest.Config{"multiplexed": rigtest.Fast, "basic": rigtest.OldAgent} {
		t.Run(name, func(t *testing.T) {
			b := rigtest.NewBastion(t, cfg)
			release := make(chan struct{})
			defer close(release)
			b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
			b.Put("localhost:8", rigtest.ServeTCP(t, func(net.Conn) { <-release })) // reads nothing
			d := newDialer(t, b.Server)
			c := dialled(t, d, rigtest.Node1+":7")
			isTimeout := func(err error) bool {
				timeout, ok := err.(net.Error)
				return errors.Is(err, os.ErrDeadlineExceeded) && ok && timeout.Timeout()
			}
			for _, at := range []time.Duration{-time.Second, time.Millisecond} {
				c.SetReadDeadline(time.Now().Add(at))
				if n, err := c.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
					t.Errorf("Read: %d, %v", n, err)
				}
			}
			// One that is set while Read waits.
			c.SetReadDeadline(time.Time{})
			time.AfterFunc(10*time.Millisecond, func() { c.SetReadDeadline(time.Unix(1, 0)) })
			if n, err := c.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
				t.Errorf("Read: %d, %v", n, err)
			}
			if err := answers(c, "the connection goes on"); err != nil {
				t.Error(err)
			}
			// More than all buffers on the way hold.
			full := dialled(t, d, rigtest.Node1+":8")
			time.AfterFunc(10*time.Millisecond, func() { full.SetWriteDeadline(time.Now().Add(time.Millisecond)) })
			big := make([]byte, 64<<20)
			if n, err := full.Write(big); n == len(big) || !isTimeout(err) {
				t.Errorf("Write: %d, %v", n, err)
			}
			full.SetWriteDeadline(time.Time{})
			time.AfterFunc(10*time.Millisecond, func() { full.Close() })
			if n, err := full.Write(big); n == len(big) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write, closed: %d, %v", n, err)
			}
			time.AfterFunc(10*time.Millisecond, func() { c.Close() })
			if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read, closed: %d, %v", n, err)
			}
			for _, err := range []error{c.Close(), c.SetDeadline(time.Now())} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("what is closed: %v", err)
				}
			}
		})
	}
}
