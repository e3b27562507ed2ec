package stdio_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestBusyMachine: one stream is not lost because its machine is silent for a
// while; that is told, once, and its end.
func TestBusyMachine(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	p := b.Start(t, rigtest.Node1)
	far := b.Far(t)
	io.WriteString(far, "x")
	io.ReadFull(p.Out, make([]byte, 1))
	b.StallAgent(true)
	io.WriteString(p.In, "anybody there?")
	for b.Sessions()[0].Resumes() < 2 { // it is asked for after 15 s, and again
		select {
		case <-p.Ended:
			t.Fatalf("ended: %q", p.Said.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	b.StallAgent(false)
	got := make([]byte, len("anybody there?"))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "anybody there?" {
		t.Errorf("%q %v", got, err)
	}
	io.WriteString(far, "yes")
	io.ReadFull(p.Out, got[:3])
	far.Close()
	<-p.Ended
	lines := strings.Split(strings.TrimSpace(p.Said.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "has not answered for 1") || !strings.Contains(lines[1], "answers again after ") {
		t.Errorf("stderr %q", lines)
	}
}

// TestRebootedMachine: one stream ends as soon as the service has no session.
func TestRebootedMachine(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	p := b.Start(t, rigtest.Node1)
	far := b.Far(t)
	io.WriteString(far, "x")
	io.ReadFull(p.Out, make([]byte, 1))
	b.Reboot(rigtest.Node1)()
	io.WriteString(p.In, "anybody there?")
	<-p.Ended
	lines := strings.Split(strings.TrimSpace(p.Said.String()), "\n")
	if p.ProcessState.ExitCode() != 1 || len(lines) != 2 || !strings.HasSuffix(lines[1], ", and the service no longer has the session; connect again") {
		t.Errorf("status %d, stderr %q", p.ProcessState.ExitCode(), lines)
	}
}
