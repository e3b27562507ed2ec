package proxy_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestProxyKeepAlive: the same for a stream that ssh has.
func TestProxyKeepAlive(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{IdleTimeout: 3 * time.Second})
	idle, kept := b.start(t, node1), b.start(t, "--keepalive", "1s", node1)
	far := []net.Conn{b.far(t), b.far(t)}
	select {
	case <-idle.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the idle session is not ended: the test shows nothing")
	}
	for range 3 { // three keep-alives are more than the timeout
		select {
		case <-kept.ended:
			t.Fatalf("the session that is kept alive has ended: %s", kept.stderr.String())
		case <-time.After(1500 * time.Millisecond):
		}
	}
	for _, c := range far {
		c.Write([]byte("hello")) // one of them has nobody to hear it
	}
	if _, err := io.ReadFull(kept.stdout, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	for _, c := range far {
		c.Close()
	}
	kept.wantEnd(t, b, 5*time.Second, 0, "")
}
