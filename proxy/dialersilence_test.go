package proxy_test

import (
	"io"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// TestDialerAfterAReboot that the service knows of: it ends what was before.
func TestDialerAfterAReboot(t *testing.T) {
	t.Parallel()
	srv := rigtest.Service(t, rigtest.Fast, rigtest.EchoServer(t))
	d := newDialer(t, srv)
	old := dialled(t, d, rigtest.Node1+":7")
	defer old.Close()
	io.WriteString(old, "x")
	if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	srv.Reboot(rigtest.Node1)()
	io.WriteString(old, "anybody there?")
	rigtest.Fails(t, old, time.Minute)
	again := dialled(t, d, rigtest.Node1+":7")
	defer again.Close()
	io.WriteString(again, "x")
	if _, err := io.ReadFull(again, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
