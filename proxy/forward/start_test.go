package forward_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestForwardStart: a machine that was stopped is waited for, however long AWS
// takes from its agent's first call until it starts sessions.
func TestForwardStart(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	b.AddNode(awstest.Node{ID: rigtest.Node1, State: "stopped", Node: ssmtest.Node{Dial: b.Dial},
		BootTime: 500 * time.Millisecond, AgentTime: time.Second, SessionTime: 9 * time.Second})
	f := b.Forward(t, 1, "--start", "--connect-timeout", "5s", "-L", "0:localhost:7")
	if !rigtest.Echoes(f.Ready[0]) {
		t.Errorf("it does not work; stderr %q", f.Said())
	}
	if said := f.Said(); !strings.Contains(said, ": it is up after ") || strings.Contains(said, "TargetNotConnected") {
		t.Errorf("stderr %q", said)
	}
}
