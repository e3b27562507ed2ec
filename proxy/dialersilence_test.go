package proxy_test

import (
	"io"
	"testing"
	"time"
)

// TestDialerAfterAReboot that the service knows of: it ends what was before.
func TestDialerAfterAReboot(t *testing.T) {
	t.Parallel()
	srv := service(t, fast, echoServer(t))
	d := newDialer(t, srv)
	old := dialled(t, d, node1+":7")
	defer old.Close()
	io.WriteString(old, "x")
	if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	srv.Reboot(node1)()
	io.WriteString(old, "anybody there?")
	fails(t, old, time.Minute)
	again := dialled(t, d, node1+":7")
	defer again.Close()
	io.WriteString(again, "x")
	if _, err := io.ReadFull(again, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
