package proxy_test

import (
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestForwardToLoopbackThere: today's agents forward to no host that is, or is a
// name of, a loopback address there. What is meant by localhost works all the
// same; anything else ends with what to do, and not in one session after another.
func TestForwardToLoopbackThere(t *testing.T) {
	newBastion := func(t *testing.T) *bastion {
		b := newBastion(t, ssmtest.Config{Agent: ssmtest.Agent{Version: "3.3.4851.0"}})
		b.AddNode(awstest.Node{ID: node1, Node: ssmtest.Node{Dial: b.dial, Hosts: map[string]string{"own-name": "127.0.1.1"}}})
		return b
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost", "LOCALHOST."} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			b := newBastion(t)
			b.put("localhost:7", serveTCP(t, echo))
			f := b.forward(t, 1, "-L", "0:"+host+":7")
			if err := ask(f.ready[0], "hello"); err != nil {
				t.Error(err)
			}
		})
	}
	for _, host := range []string{"127.0.0.53", "own-name"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			b := newBastion(t)
			f := b.tryForward(t, "-L", "0:"+host+":7")
			if err := f.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.end)
			go func() {
				f.Wait()
				close(f.ended)
			}()
			f.wantEnd(t, 1, "is forbidden; the agent does not forward to loopback")
			if n := len(b.Sessions()); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}
