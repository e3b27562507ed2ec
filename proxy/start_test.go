package proxy_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestStartedLately: who comes during the boot waits as who has started it, also
// while the agent is there and AWS starts no session yet. Without --start it is
// told at once.
func TestStartedLately(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	address := b.listener.Addr().String()
	b.AddNode(awstest.Node{ID: node1, State: "stopped", BootTime: time.Second, AgentTime: 5 * time.Second, SessionTime: 6 * time.Second,
		Node: ssmtest.Node{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}})
	first := b.start(t, "--start", "--connect-timeout", "5s", node1)
	for b.Calls("StartInstances") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(1500 * time.Millisecond) // so that it is running
	second := b.start(t, "--start", "--connect-timeout", "5s", node1)
	third := b.start(t, node1)
	<-third.ended
	if said := third.stderr.String(); third.ProcessState.ExitCode() != 1 || !strings.Contains(said, "it was started ") || !strings.Contains(said, "--start waits") {
		t.Errorf("without --start: %q", said)
	}
	for range 2 {
		far := b.far(t)
		io.WriteString(far, "x")
		far.Close()
	}
	for _, p := range []*process{first, second} {
		<-p.ended
		if p.ProcessState.ExitCode() != 0 {
			t.Errorf("stderr %q", p.stderr.String())
		}
	}
}
