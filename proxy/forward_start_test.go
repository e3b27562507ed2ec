package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestForwardStart: a machine that was stopped is waited for, however long AWS
// takes from its agent's first call until it starts sessions.
func TestForwardStart(t *testing.T) {
	t.Parallel()
	b := newBastion(t, fast)
	b.put("localhost:7", serveTCP(t, echo))
	b.AddNode(awstest.Node{ID: node1, State: "stopped", Node: ssmtest.Node{Dial: b.dial},
		BootTime: 500 * time.Millisecond, AgentTime: time.Second, SessionTime: 9 * time.Second})
	f := b.forward(t, 1, "--start", "--connect-timeout", "5s", "-L", "0:localhost:7")
	if !echoes(f.ready[0]) {
		t.Errorf("it does not work; stderr %q", f.said())
	}
	if said := f.said(); !strings.Contains(said, ": it is up after ") || strings.Contains(said, "TargetNotConnected") {
		t.Errorf("stderr %q", said)
	}
}
