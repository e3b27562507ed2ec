package proxy_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// fails waits until a connection fails, which is not its orderly end.
func fails(t *testing.T, c net.Conn, within time.Duration) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); err == nil || err == io.EOF || ok && timeout.Timeout() {
		t.Errorf("a connection from before: %v", err)
	}
}

// TestForwardAfterAReboot that nobody has told the service of: new connections
// go by a session of their own, and those from before do not hang.
func TestForwardAfterAReboot(t *testing.T) {
	t.Parallel()
	b := newBastion(t, fast)
	b.put("localhost:7", serveTCP(t, echo))
	f := b.forward(t, 1, "-L", "0:localhost:7")
	old, err := net.Dial("tcp", f.ready[0])
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	io.WriteString(old, "x")
	if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	back := b.RebootUnnoticed(node1)
	io.WriteString(old, "anybody there?")
	back()
	// Of the connections that are tried soon after some may fall into the hole.
	deadline := time.Now().Add(time.Minute)
	for !echoes(f.ready[0]) {
		if time.Now().After(deadline) {
			t.Fatalf("no new connection works; stderr %q", f.said())
		}
	}
	if b.Sessions()[0].Ended() {
		t.Error("the session from before has ended already: that proves nothing of new connections")
	}
	fails(t, old, 90*time.Second)
	for _, text := range []string{"though the connection to AWS is up", "probably restarted"} {
		for !strings.Contains(f.said(), text) {
			if time.Now().After(deadline.Add(time.Minute)) {
				t.Fatalf("stderr %q", f.said())
			}
			time.Sleep(10 * time.Millisecond) // it comes by a pipe of its own
		}
	}
	if !echoes(f.ready[0]) {
		t.Error("afterwards a new connection does not work")
	}
}

// echoes says whether a new connection gets an answer within a few seconds.
func echoes(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(4 * time.Second))
	io.WriteString(c, "x")
	_, err = io.ReadFull(c, make([]byte, 1))
	return err == nil
}

// TestDialerAfterAReboot that the service knows of: it ends what was before.
func TestDialerAfterAReboot(t *testing.T) {
	t.Parallel()
	srv := service(t, fast, echoServer(t))
	d := newDialer(t, srv)
	old := dialled(t, d, node1+":7")
	defer old.Close()
	io.WriteString(old, "x")
	if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	srv.Reboot(node1)()
	io.WriteString(old, "anybody there?")
	fails(t, old, time.Minute)
	again := dialled(t, d, node1+":7")
	defer again.Close()
	io.WriteString(again, "x")
	if _, err := io.ReadFull(again, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// TestBusyMachine: one stream is not lost because its machine is silent for a
// while; that is told, once, and its end.
func TestBusyMachine(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	p := b.start(t, node1)
	far := b.far(t)
	io.WriteString(far, "x")
	io.ReadFull(p.stdout, make([]byte, 1))
	b.StallAgent(true)
	io.WriteString(p.stdin, "anybody there?")
	for b.Sessions()[0].Resumes() < 2 { // it is asked for after 15 s, and again
		select {
		case <-p.ended:
			t.Fatalf("ended: %q", p.stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	b.StallAgent(false)
	got := make([]byte, len("anybody there?"))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "anybody there?" {
		t.Errorf("%q %v", got, err)
	}
	io.WriteString(far, "yes")
	io.ReadFull(p.stdout, got[:3])
	far.Close()
	<-p.ended
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "has not answered for 1") || !strings.Contains(lines[1], "answers again after ") {
		t.Errorf("stderr %q", lines)
	}
}

// TestRebootedMachine: one stream ends as soon as the service has no session.
func TestRebootedMachine(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	p := b.start(t, node1)
	far := b.far(t)
	io.WriteString(far, "x")
	io.ReadFull(p.stdout, make([]byte, 1))
	b.Reboot(node1)()
	io.WriteString(p.stdin, "anybody there?")
	<-p.ended
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if p.ProcessState.ExitCode() != 1 || len(lines) != 2 || !strings.HasSuffix(lines[1], ", and the service no longer has the session; connect again") {
		t.Errorf("status %d, stderr %q", p.ProcessState.ExitCode(), lines)
	}
}
