package machine_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestStartedLately: who comes during the boot waits as who has started it, also
// while the agent is there and AWS starts no session yet. Without --start it is
// told at once.
func TestStartedLately(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	address := b.Listener.Addr().String()
	b.AddNode(awstest.Node{ID: rigtest.Node1, State: "stopped", BootTime: time.Second, AgentTime: 5 * time.Second, SessionTime: 6 * time.Second,
		Node: ssmtest.Node{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}})
	first := b.Start(t, "--start", "--connect-timeout", "5s", rigtest.Node1)
	for b.Calls("StartInstances") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(1500 * time.Millisecond) // so that it is running
	second := b.Start(t, "--start", "--connect-timeout", "5s", rigtest.Node1)
	third := b.Start(t, rigtest.Node1)
	<-third.Ended
	if said := third.Said.String(); third.ProcessState.ExitCode() != 1 || !strings.Contains(said, "it was started ") || !strings.Contains(said, "--start waits") {
		t.Errorf("without --start: %q", said)
	}
	for range 2 {
		far := b.Far(t)
		io.WriteString(far, "x")
		far.Close()
	}
	for _, p := range []*rigtest.Process{first, second} {
		<-p.Ended
		if p.ProcessState.ExitCode() != 0 {
			t.Errorf("stderr %q", p.Said.String())
		}
	}
}
