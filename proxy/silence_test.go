package proxy_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

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
