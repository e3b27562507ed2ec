package forward_test

import (
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestForwardToLoopbackThere: today's agents forward to no host that is, or is a
// name of, a loopback address there. What is meant by localhost works all the
// same; anything else ends with what to do, and not in one session after another.
func TestForwardToLoopbackThere(t *testing.T) {
	newBastion := func(t *testing.T) *rigtest.Bastion {
		b := rigtest.NewBastion(t, ssmtest.Config{Agent: ssmtest.Agent{Version: "3.3.4851.0"}})
		b.AddNode(awstest.Node{ID: rigtest.Node1, Node: ssmtest.Node{Dial: b.Dial, Hosts: map[string]string{"own-name": "127.0.1.1"}}})
		return b
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost", "LOCALHOST."} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			b := newBastion(t)
			b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
			f := b.Forward(t, 1, "-L", "0:"+host+":7")
			if err := rigtest.Ask(f.Ready[0], "hello"); err != nil {
				t.Error(err)
			}
		})
	}
	for _, host := range []string{"127.0.0.53", "own-name"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			b := newBastion(t)
			f := b.TryForward(t, "-L", "0:"+host+":7")
			if err := f.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.End)
			go func() {
				f.Wait()
				close(f.Ended)
			}()
			f.WantEnd(t, 1, "is forbidden; the agent does not forward to loopback")
			if n := len(b.Sessions()); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}
