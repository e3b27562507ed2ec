package forward_test

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestForwardReboot: the instance goes away under open connections and comes
// back; what is then asked of the forward is answered.
func TestForwardReboot(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("web.internal:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "--resume-timeout", "2s", "-L", "0:web.internal:80")
	open, err := net.Dial("tcp", f.Ready[0])
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	open.Write([]byte("x"))
	if _, err := io.ReadFull(open, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	back := b.Reboot(rigtest.Node1)
	open.Write([]byte("is anybody there?"))
	open.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := open.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes from an instance that is off", n)
	} else if isTimeout(err) {
		t.Error("the connection is still open")
	}
	rigtest.WaitFor(t, "word of it", func() bool { return strings.Contains(f.Said(), "TargetNotConnected") })
	answered := make(chan error, 1)
	go func() { answered <- rigtest.Ask(f.Ready[0], "after the reboot") }() // waits for the session
	back()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if said := f.Said(); strings.Count(said, "\n") > 3 {
		t.Errorf("stderr %q", said)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// TestKeepAlive: an idle session that is kept alive outlives the idle timeout,
// and one that is not does not, with new agents and with old ones.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.3.0.0", "3.0.100.0"} {
		b := rigtest.NewBastion(t, ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true, Version: version}, IdleTimeout: 3 * time.Second})
		b.Put("web.internal:80", rigtest.ServeTCP(t, rigtest.Echo))
		idle := b.Forward(t, 1, "--once", "-L", "0:web.internal:80")
		kept := b.Forward(t, 1, "--once", "--keepalive", "1s", "-L", "0:web.internal:80")
		select {
		case <-idle.Ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the idle session is not ended: the test shows nothing")
		}
		if !strings.Contains(idle.Said(), "inactivity") {
			t.Errorf("stderr %q", idle.Said())
		}
		select {
		case <-kept.Ended:
			t.Fatalf("agent %s: the session that is kept alive has ended: %s", version, kept.Said())
		case <-time.After(4 * time.Second): // more than the timeout, since the other's end
		}
		if err := rigtest.Ask(kept.Ready[0], "still there"); err != nil {
			t.Errorf("agent %s: %v; stderr %q", version, err, kept.Said())
		}
		kept.End()
	}
}

// TestForwardDenied: one document is not allowed.
func TestForwardDenied(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("web.internal:80", rigtest.ServeTCP(t, rigtest.Echo))
	b.Put("localhost:80", rigtest.ServeTCP(t, rigtest.Echo))
	b.Deny("AWS-StartPortForwardingSessionToRemoteHost")
	f := b.TryForward(t, "-L", "0:web.internal:80", "-L", "0:localhost:80")
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		f.Wait()
		close(f.Ended)
	}()
	f.WantEnd(t, 1, "web.internal:80: AccessDenied")
	if strings.Count(f.Said(), "\n") != 1 || !strings.Contains(f.Said(), "permission") {
		t.Errorf("stderr %q", f.Said())
	}
	// By SOCKS it is one connection's matter.
	f = b.Forward(t, 1, "-D", "0")
	curl := rigtest.Need(t, "curl")
	cmd := exec.Command(curl, "--silent", "--show-error", "--max-time", "20", "--proxy", "socks5h://"+f.Ready[0], "http://web.internal/")
	if r := rigtest.Run(t, cmd, nil); r.Status != 97 && r.Status != 7 {
		t.Errorf("curl: status %d, %s", r.Status, r.Stderr)
	}
	rigtest.WaitFor(t, "word of it", func() bool { return strings.Contains(f.Said(), "AccessDenied") })
}

// TestForwardTargetGone: it is not there from the beginning.
func TestForwardTargetGone(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	back := b.Reboot(rigtest.Node1)
	defer back()
	f := b.TryForward(t, "-L", "0:web.internal:80")
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		f.Wait()
		close(f.Ended)
	}()
	f.WantEnd(t, 1, "TargetNotConnected")
}
