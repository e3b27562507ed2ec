package forward_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// TestForwardAfterAReboot that nobody has told the service of: new connections
// go by a session of their own, and those from before do not hang.
func TestForwardAfterAReboot(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "-L", "0:localhost:7")
	old, err := net.Dial("tcp", f.Ready[0])
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	io.WriteString(old, "x")
	if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	back := b.RebootUnnoticed(rigtest.Node1)
	io.WriteString(old, "anybody there?")
	back()
	// Of the connections that are tried soon after some may fall into the hole.
	deadline := time.Now().Add(time.Minute)
	for !rigtest.Echoes(f.Ready[0]) {
		if time.Now().After(deadline) {
			t.Fatalf("no new connection works; stderr %q", f.Said())
		}
	}
	if b.Sessions()[0].Ended() {
		t.Error("the session from before has ended already: that proves nothing of new connections")
	}
	rigtest.Fails(t, old, 90*time.Second)
	for _, text := range []string{"though the connection to AWS is up", "probably restarted"} {
		for !strings.Contains(f.Said(), text) {
			if time.Now().After(deadline.Add(time.Minute)) {
				t.Fatalf("stderr %q", f.Said())
			}
			time.Sleep(10 * time.Millisecond) // it comes by a pipe of its own
		}
	}
	if !rigtest.Echoes(f.Ready[0]) {
		t.Error("afterwards a new connection does not work")
	}
}
