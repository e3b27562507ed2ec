package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// newDialer returns one that uses srv, and is closed with the test.
func newDialer(t testing.TB, srv *awstest.Server) *proxy.Dialer {
	d := &proxy.Dialer{AWS: awsConfig(srv)}
	t.Cleanup(func() { d.Close() })
	return d
}

// awsConfig is what a program's own configuration may be.
func awsConfig(srv *awstest.Server) *aws.Config {
	key := func(name string) (value string) {
		for _, v := range srv.Env() {
			if v, ok := strings.CutPrefix(v, name+"="); ok {
				value = v
			}
		}
		return value
	}
	return &aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(srv.URL()),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key("AWS_ACCESS_KEY_ID"), SecretAccessKey: key("AWS_SECRET_ACCESS_KEY")}, nil
		}),
	}
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
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	b.put("db.internal:7", serveTCP(t, echo))
	b.put("fd00::7:7", serveTCP(t, echo)) // as the agent writes it
	b.put("[fd00::7]:7", serveTCP(t, echo))
	b.AddNode(awstest.Node{ID: node2, Name: "web-1", Tags: map[string]string{"role": "db"}, PrivateIP: "10.0.3.7", Node: ssmtest.Node{Dial: b.dial}})
	task := b.AddTask(awstest.Task{Cluster: "web", ID: "1", Containers: []awstest.Container{{Name: "app", Node: ssmtest.Node{Dial: b.dial}}}})
	for _, c := range []struct{ via, address string }{
		{"", node1 + ":7"},
		{"", "web-1:7"},
		{"", "tag:role=db:7"},
		{"", "10.0.3.7:echo"},
		{"", "web-1--us-east-1:7"},
		{"", "ecs:web/1/app:7"},
		{"", task.Target(&task.Containers[0]) + ":7"},
		{node1, "db.internal:7"},
		{node1, "localhost:7"},
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
	waitFor(t, "end of the sessions", func() bool { return b.ActiveSessions() == 0 })
}

// TestDialerDefaults: the zero value goes by the environment.
func TestDialerDefaults(t *testing.T) {
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	for _, v := range b.Server.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	var d proxy.Dialer
	defer d.Close()
	c, err := d.Dial("tcp", node1+":7")
	if err != nil {
		t.Fatal(err)
	}
	if err := answers(c, "hello"); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_REGION", "")
	var lost proxy.Dialer
	defer lost.Close()
	if _, err := lost.Dial("tcp", node1+":7"); !errors.Is(err, proxy.ErrNoRegion) {
		t.Errorf("without a region: %v", err)
	}
	lost.Close()
	lost = proxy.Dialer{Region: "us-east-1"}
	if _, err := lost.Dial("tcp", node1+":7"); err != nil {
		t.Error(err)
	}
}

// TestDialerMany: 200 connections dialled at once go over one session, through
// a cut, and those that follow too.
func TestDialerMany(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	d := newDialer(t, b.Server)
	const n = 200
	var all sync.WaitGroup
	var dialling, half sync.WaitGroup
	dialling.Add(n)
	half.Add(n)
	for i := range n {
		all.Go(func() {
			c, err := d.DialContext(t.Context(), "tcp", node1+":7")
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
	waitFor(t, "end of the agent's connections", func() bool { return b.connections() == 0 })
}

// TestDialerCut: a transfer goes on through cuts of all kinds.
func TestDialerCut(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	kinds := []ssmtest.Cut{ssmtest.CutBye, ssmtest.CutReset}
	b.CutEach(func(link int) (int64, ssmtest.Cut) {
		if link >= 6 {
			return -1, 0
		}
		return 300_000, kinds[link%len(kinds)]
	})
	c := dialled(t, newDialer(t, b.Server), node1+":7")
	sent := random(4<<20, 5)
	go c.Write(sent)
	c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Error(err)
	}
	equal(t, "echo", got, sent)
	if n := b.Sessions()[0].Resumes(); n < 4 {
		t.Errorf("%d resumes", n)
	}
}

// TestDialerReboot: connections that go with the session fail, dials fail while
// the machine is away and say so, and work when it is back. Nobody tries
// meanwhile.
func TestDialerReboot(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	d := newDialer(t, b.Server)
	d.ResumeTimeout = time.Second
	c := dialled(t, d, node1+":7")
	if err := answers(c, "hello"); err != nil {
		t.Fatal(err)
	}
	back := b.Reboot(node1)
	go c.Write([]byte("is anybody there?"))
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("from a machine that is off: %d, %v", n, err)
	}
	waitFor(t, "end of the session", func() bool { return b.ActiveSessions() == 0 })
	for range 2 {
		_, err := d.DialContext(t.Context(), "tcp", node1+":7")
		if !errors.Is(err, proxy.ErrAway) || !strings.Contains(err.Error(), node1) {
			t.Errorf("dialling a machine that is off: %v", err)
		}
	}
	started := b.Calls("StartSession")
	if started != 3 {
		t.Errorf("StartSession was called %d times", started)
	}
	back()
	if err := answers(dialled(t, d, node1+":7"), "after the reboot"); err != nil {
		t.Error(err)
	}
	if n := b.Calls("StartSession"); n != started+1 {
		t.Errorf("StartSession was called %d times more", n-started)
	}
}

// TestDialerErrors: what a program can decide on.
func TestDialerErrors(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.AddNode(awstest.Node{ID: node2, Name: "twin"})
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
		{"", "udp", node1 + ":7", as(&network)},
		{"", "tcp", node1, as(&address)},
		{"", "tcp", node1 + ":0", as(&address)},
		{"", "tcp", node1 + ":no such port", as(&address)},
		{"", "tcp", "fd00::1:22", as(&address)},
		{"", "tcp", ":22", is(proxy.ErrTarget)},
		{"", "tcp4", "ecs:web:22", is(proxy.ErrTarget)},
		{"", "tcp6", "nobody:22", is(proxy.ErrNoMachine)},
		{"", "tcp", "twin:22", is(proxy.ErrSeveral)},
		{"", "tcp", "off:22", is(proxy.ErrAway)},
		{"", "tcp", "i-00000000000000003:22", is(proxy.ErrAway)},
		{node1, "tcp", ":22", as(&address)},
		{"-", "tcp", "db:22", is(proxy.ErrTarget)},
		{node1, "tcp", "db.internal:22", is(fs.ErrPermission)},
		{node1, "tcp", "db.internal:22", as(&api)},
	} {
		d := newDialer(t, b.Server)
		d.Via = c.via
		_, err := d.DialContext(t.Context(), c.network, c.address)
		var op *net.OpError
		if err == nil || !c.is(err) || !errors.As(err, &op) || op.Op != "dial" || op.Timeout() || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s via %q: %v", c.network, c.address, c.via, err)
		}
	}
	if n := b.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// TestDialerRefused: it is the connection's first Read that learns of it.
func TestDialerRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssmtest.Config{"multiplexed": noSleep, "basic": oldAgent} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t, cfg)
			d := newDialer(t, b.Server)
			c := dialled(t, d, node1+":7")
			c.Write([]byte("hello"))
			_, err := c.Read(make([]byte, 1))
			if !errors.Is(err, proxy.ErrRefused) || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("Read: %v", err)
			}
			c.Close()
			b.put("localhost:7", serveTCP(t, echo))
			// An old agent's session ends with the refusal, maybe just now.
			waitFor(t, "a connection", func() bool { return answers(dialled(t, d, node1+":7"), "hello") == nil })
		})
	}
}

// TestDialerCancel: a dial that nobody waits for any more leaves nothing, and
// does not harm another.
func TestDialerCancel(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
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
			_, err := d.DialContext(ctx, "tcp", node1+":7")
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
	if err := answers(dialled(t, d, node1+":7"), "hello"); err != nil {
		t.Error(err)
	}
	if n := b.Calls("StartSession"); n != 2 {
		t.Errorf("%d sessions were started: nobody waited for the first any more", n)
	}
	waitFor(t, "end of the other session", func() bool { return b.ActiveSessions() == 1 })
	if _, err := d.DialContext(ctx, "tcp", node1+":7"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestDialerClose: it ends connections, and dials that are under way.
func TestDialerClose(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	d := newDialer(t, b.Server)
	open := dialled(t, d, node1+":7")
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
			_, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", node1, 8+i))
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
	if n := b.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions after Close", n)
	}
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
	if _, err := d.Dial("tcp", node1+":7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial: %v", err)
	}
	var unused proxy.Dialer
	if err := unused.Close(); err != nil {
		t.Error(err)
	}
	if _, err := unused.Dial("tcp", node1+":7"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial: %v", err)
	}
}

// TestDialerConn: deadlines and Close call off what is under way.
func TestDialerConn(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssmtest.Config{"multiplexed": noSleep, "basic": oldAgent} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t, cfg)
			release := make(chan struct{})
			defer close(release)
			b.put("localhost:7", serveTCP(t, echo))
			b.put("localhost:8", serveTCP(t, func(net.Conn) { <-release })) // reads nothing
			d := newDialer(t, b.Server)
			c := dialled(t, d, node1+":7")
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
			full := dialled(t, d, node1+":8")
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

// TestDialerEnd: the far side's end is io.EOF, and only that.
func TestDialerEnd(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	said := random(300_000, 3)
	b.put("localhost:7", serveTCP(t, func(c net.Conn) { c.Write(said) }))
	b.put("localhost:8", serveTCP(t, echo))
	d := newDialer(t, b.Server)
	got, err := io.ReadAll(dialled(t, d, node1+":7"))
	if err != nil {
		t.Error(err)
	}
	equal(t, "what the far side said", got, said)
	c := dialled(t, d, node1+":8")
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

// TestDialerOldAgent: a pool's connections do not wait for each other, each has
// its own bytes, and sessions are used again.
func TestDialerOldAgent(t *testing.T) {
	t.Parallel()
	b := newBastion(t, oldAgent)
	b.put("localhost:7", serveTCP(t, echo))
	d := newDialer(t, b.Server)
	const n = 6
	var pool []net.Conn
	for i := range n {
		c := dialled(t, d, node1+":7")
		if err := answers(c, fmt.Sprint("I am ", i)); err != nil {
			t.Error(err)
		}
		pool = append(pool, c)
	}
	for i, c := range pool {
		c.Write([]byte("left over"))
		go io.Copy(io.Discard, c) // who closes may still be reading
		c.Close()
		if err := answers(dialled(t, d, node1+":7"), strings.Repeat(fmt.Sprint(i), 10000)); err != nil {
			t.Error(err)
		}
	}
	if got := b.Calls("StartSession"); got > 2*n {
		t.Errorf("%d sessions", got)
	}
	// There are no more than 16 at once.
	for range 16 - n {
		dialled(t, d, node1+":7")
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	if _, err := d.DialContext(ctx, "tcp", node1+":7"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
}

// TestDialerSessions: connections are spread.
func TestDialerSessions(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	d := newDialer(t, b.Server)
	d.Sessions = 3
	waitFor(t, "three sessions", func() bool {
		dialled(t, d, node1+":7")
		return b.live() == 3
	})
	for range 9 {
		dialled(t, d, node1+":7")
	}
	if n := b.Calls("StartSession"); n != 3 {
		t.Errorf("%d sessions", n)
	}
}

// TestDialerStalled: a connection that is not read does not hold up new ones
// for ever.
func TestDialerStalled(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	chunk := make([]byte, 1<<20)
	b.put("localhost:7", serveTCP(t, func(c net.Conn) {
		first := make([]byte, 1)
		io.ReadFull(c, first)
		if first[0] == 'e' {
			io.Copy(c, c)
			return
		}
		for {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}))
	d := newDialer(t, b.Server)
	flood := dialled(t, d, node1+":7")
	flood.Write([]byte("f"))
	full := func() bool { return b.Sessions()[0].BytesDown() > 64<<20 }
	for end := time.Now().Add(2 * time.Minute); !full(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes have come", b.Sessions()[0].BytesDown())
		}
	}
	waitFor(t, "a connection beside", func() bool {
		c := dialled(t, d, node1+":7")
		c.Write([]byte("e!"))
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	})
	flood.Close()
}

// TestDialerFull: where nothing goes out, because nobody there reads, a dial
// ends with its context.
func TestDialerFull(t *testing.T) {
	t.Parallel()
	b := newBastion(t, noSleep)
	release := make(chan struct{})
	defer close(release)
	b.put("localhost:8", serveTCP(t, func(net.Conn) { <-release }))
	d := newDialer(t, b.Server)
	full := dialled(t, d, node1+":8")
	b.StallAgent(true)
	// Soon, since another session is started for an agent that is silent for 5 s.
	full.SetWriteDeadline(time.Now().Add(time.Second))
	if n, err := full.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes were taken, %v", n, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	begun := time.Now()
	_, err := d.DialContext(ctx, "tcp", node1+":8")
	if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

// TestDialerLeavesNothing: neither goroutines nor connections.
func TestDialerLeavesNothing(t *testing.T) {
	b := newBastion(t, noSleep)
	b.put("localhost:7", serveTCP(t, echo))
	before := numGoroutine()
	for range 3 {
		d := &proxy.Dialer{AWS: awsConfig(b.Server)}
		for i := range 3 {
			c := dialled(t, d, node1+":7")
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
		d.DialContext(ctx, "tcp", node2+":7")
		cancel()
		d.Close()
	}
	waitFor(t, "end of the goroutines", func() bool { return numGoroutine() <= before })
	if n := b.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
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
