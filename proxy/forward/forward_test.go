package forward_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestForward(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	b.Put("db.internal:5432", rigtest.ServeTCP(t, func(c net.Conn) { io.WriteString(c, "I am the database") }))
	socket := filepath.Join(t.TempDir(), "s")
	f := b.Forward(t, 3, "-L", "0:localhost:7", "-L", "0:db.internal:5432", "-L", socket+":db.internal:5432")
	if err := rigtest.Ask(f.Ready[0], strings.Repeat("hello ", 100000)); err != nil {
		t.Error(err)
	}
	for network, address := range map[string]string{"tcp": f.Ready[1], "unix": socket} {
		c, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); string(got) != "I am the database" || err != nil {
			t.Errorf("%s: %q, %v", network, got, err)
		}
		c.Close()
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
	documents := map[string]int{}
	for _, s := range b.Sessions() {
		documents[s.Document()]++
	}
	if documents["AWS-StartPortForwardingSession"] != 1 || documents["AWS-StartPortForwardingSessionToRemoteHost"] != 1 {
		t.Errorf("sessions: %v", documents) // one for each destination
	}
	begun := time.Now()
	f.Process.Signal(syscall.SIGINT)
	f.WantEnd(t, 1, "")
	if took := time.Since(begun); took > 2*time.Second+rigtest.Margin {
		t.Errorf("the end took %v", took)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestForwardRefused: it is told to the one connection it belongs to, and to
// the user.
func TestForwardRefused(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("web:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 2, "-L", "0:web:80", "-L", "0:nobody:80")
	c, err := net.Dial("tcp", f.Ready[1])
	if err == nil { // it may be reset as soon as that
		defer c.Close()
		c.Write([]byte("hello"))
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the refused connection ended with %v", err)
	}
	rigtest.WaitFor(t, "word of the refusal", func() bool { return strings.Contains(f.Said(), "nobody:80 refused") })
	if err := rigtest.Ask(f.Ready[0], "still there"); err != nil {
		t.Error(err)
	}
}

// TestForwardMany: many connections at once, and in a row, leave nothing.
func TestForwardMany(t *testing.T) {
	t.Parallel()
	inARow, atOnce := 1000, 200
	if testing.Short() || rigtest.Race() {
		inARow, atOnce = 200, 100
	}
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("web:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "-L", "0:web:80")
	files := func() int {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.Process.Pid))
		if err != nil {
			t.Skip(err)
		}
		return len(list)
	}
	if err := rigtest.Ask(f.Ready[0], "first"); err != nil {
		t.Fatal(err)
	}
	before := files()
	for n := range inARow {
		if err := rigtest.Ask(f.Ready[0], fmt.Sprint("number ", n)); err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
	}
	var wg sync.WaitGroup
	for n := range atOnce {
		wg.Go(func() {
			if err := rigtest.Ask(f.Ready[0], strings.Repeat(fmt.Sprint(n, " "), 2000)); err != nil {
				t.Errorf("connection %d of many: %v", n, err)
			}
		})
	}
	wg.Wait()
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
	// One more is the timer of a link on which messages have come steadily.
	rigtest.WaitFor(t, "end of ours", func() bool { return files() <= before+1 })
	if n := b.Live(); n != 1 {
		t.Errorf("%d sessions for one destination", n)
	}
}

// TestForwardHalfClose: a program that has said all it has to say still gets
// its answer.
func TestForwardHalfClose(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	answer := make(chan struct{})
	b.Put("slow:1", rigtest.ServeTCP(t, func(c net.Conn) {
		c.Read(make([]byte, 100))
		<-answer
		c.Write(rigtest.Random(1<<20, 5))
	}))
	f := b.Forward(t, 1, "-L", "0:slow:1")
	c, err := net.Dial("tcp", f.Ready[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("question"))
	c.(*net.TCPConn).CloseWrite()
	rigtest.WaitFor(t, "the question there", func() bool { return b.Connections() == 1 })
	close(answer)
	got, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	rigtest.Equal(t, "the answer", got, rigtest.Random(1<<20, 5))
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
}

// TestForwardStuckProgram: one that does not read what has come for it stops
// nobody else, on the session that it shares with them, and gets the rest when
// it reads on.
func TestForwardStuckProgram(t *testing.T) {
	t.Parallel()
	size := 24 << 20
	if testing.Short() || rigtest.Race() {
		size = 6 << 20
	}
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("files:80", rigtest.ServeTCP(t, func(c net.Conn) {
		seed := make([]byte, 1)
		if _, err := io.ReadFull(c, seed); err == nil {
			c.Write(rigtest.Random(size, uint64(seed[0])))
		}
	}))
	f := b.Forward(t, 1, "-L", "0:files:80")
	fetch := func(n byte) net.Conn {
		c, err := net.Dial("tcp", f.Ready[0])
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte{n})
		return c
	}
	stuck := fetch(0)
	defer stuck.Close()
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(stuck, first); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := byte(1); n < 10; n++ {
		wg.Go(func() {
			c := fetch(n)
			defer c.Close()
			c.SetDeadline(time.Now().Add(2 * time.Minute))
			got, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			rigtest.Equal(t, fmt.Sprint("download ", n), got, rigtest.Random(size, uint64(n)))
		})
	}
	wg.Wait()
	stuck.SetDeadline(time.Now().Add(2 * time.Minute))
	rest, err := io.ReadAll(stuck)
	if err != nil {
		t.Error(err)
	}
	rigtest.Equal(t, "what had been stuck", append(first, rest...), rigtest.Random(size, 0))
}

// TestForwardOvertakesAStuckSession: a session that stands still is left to
// those who are on it.
func TestForwardOvertakesAStuckSession(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("zeros:80", rigtest.ServeTCP(t, func(c net.Conn) {
		for buf := make([]byte, 64<<10); ; {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}))
	b.Put("web:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "-L", "0:zeros:80")
	stuck, err := net.Dial("tcp", f.Ready[0])
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	rigtest.WaitFor(t, "session that has much to stand still with", func() bool {
		return b.Sessions()[0].BytesDown() > 64<<20 // more than smux keeps
	})
	// While the first one still moves, another connection may get on it.
	rigtest.WaitFor(t, "connection with a session of its own", func() bool {
		c, err := net.Dial("tcp", f.Ready[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.ReadFull(c, make([]byte, 1<<20))
		return err == nil && b.Live() == 2
	})
}

// TestForwardWider: eight downloads over eight sessions, each at the agent's
// pace.
func TestForwardWider(t *testing.T) {
	if rigtest.Race() {
		t.Skip("the race detector is slower than eight agents")
	}
	b := rigtest.NewBastion(t, ssmtest.Config{})
	const size = 1 << 20
	b.Put("files:80", rigtest.ServeTCP(t, func(c net.Conn) { c.Write(rigtest.Random(size, 1)) }))
	fetch := func(f *rigtest.Forwarding, n int) time.Duration {
		var wg sync.WaitGroup
		begun := time.Now()
		for range n {
			wg.Go(func() {
				c, err := net.Dial("tcp", f.Ready[0])
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				got, err := io.ReadAll(c)
				if err != nil {
					t.Error(err)
				}
				rigtest.Equal(t, "download", got, rigtest.Random(size, 1))
			})
		}
		wg.Wait()
		return time.Since(begun)
	}
	f := b.Forward(t, 1, "-L", "0:files:80", "--sessions", "8")
	rigtest.WaitFor(t, "eight sessions", func() bool { return b.Live() == 8 })
	one := fetch(f, 1)
	eight := fetch(f, 8)
	used := 0
	for _, s := range b.Sessions() {
		if s.BytesDown() > 0 {
			used++
		}
	}
	// The time depends on the machine; that they are spread does not.
	t.Logf("one: %v, eight: %v, ratio of rates %.1f", one, eight, 8*one.Seconds()/eight.Seconds())
	if used != 8 {
		t.Errorf("%d sessions carried something, not 8", used)
	}
}

// TestForwardStaysUp: the listener outlives sessions.
func TestForwardStaysUp(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("web:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "-L", "0:web:80")
	open, err := net.Dial("tcp", f.Ready[0])
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	open.Write([]byte("x"))
	if _, err := io.ReadFull(open, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	b.Sessions()[0].End("Your session timed out due to inactivity.")
	open.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadAll(open); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection outlives its session")
	}
	if err := rigtest.Ask(f.Ready[0], "again"); err != nil {
		t.Errorf("after the session's end: %v", err)
	}
	rigtest.WaitFor(t, "word of it", func() bool { return strings.Contains(f.Said(), "connected to web:80 again") })
	if lines := strings.Split(strings.TrimSpace(f.Said()), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "inactivity") {
		t.Errorf("stderr %q", f.Said())
	}
}

func TestForwardOnce(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("web:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "--once", "-L", "0:web:80")
	b.Sessions()[0].End("maximum duration")
	f.WantEnd(t, 1, "maximum duration")
}

// TestForwardErrors: what keeps it from starting is said in one line.
func TestForwardErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for _, tt := range []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{"-L", port + ":web:80"}, 1, "address already in use"},
		{[]string{"--exit-on-forward-failure", "-L", "0:web:80", "-L", port + ":web:80"}, 1, "address already in use"},
		{[]string{"-L", "80:web"}, 2, "bad forwarding specification"},
		{[]string{"-D", "x"}, 2, "bad forwarding specification"},
		{[]string{}, 2, "-L or -D"},
		{[]string{"-L", "0:web:80", "--sessions", "17"}, 2, "--sessions"},
		{[]string{"-L", "0:web:80", "--keepalive", "1ms"}, 2, "--keepalive"},
	} {
		b := rigtest.NewBastion(t, rigtest.Fast)
		f := b.TryForward(t, tt.args...)
		if err := f.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			f.Wait()
			close(f.Ended)
		}()
		f.WantEnd(t, tt.status, tt.text)
	}
	// That somebody else has the port of the other family is told, too.
	_, half, _ := net.SplitHostPort(rigtest.FreePort(t))
	if other, err := net.Listen("tcp", "[::1]:"+half); err == nil {
		defer other.Close()
		for _, spec := range [][]string{{"-L", half + ":web:80"}, {"-D", half}} {
			b := rigtest.NewBastion(t, rigtest.Fast)
			b.Put("web:80", rigtest.ServeTCP(t, rigtest.Echo))
			f := b.TryForward(t, append(spec, "--exit-on-forward-failure")...)
			if err := f.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				f.Wait()
				close(f.Ended)
			}()
			f.WantEnd(t, 1, "[::1]:"+half+": address already in use")
			f = b.Forward(t, 1, spec...)
			if c, err := net.Dial("tcp", f.Ready[0]); err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
			rigtest.WaitFor(t, "word of it", func() bool { return strings.Contains(f.Said(), "[::1]:"+half+": address already in use") })
			f.End()
		}
	}
	// Without --exit-on-forward-failure those that can are listened on.
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("web:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "-L", port+":web:80", "-L", "0:web:80")
	if err := rigtest.Ask(f.Ready[0], "hello"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(f.Said(), "address already in use") {
		t.Errorf("stderr %q", f.Said())
	}
}
