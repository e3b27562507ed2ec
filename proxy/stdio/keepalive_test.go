package stdio_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestProxyKeepAlive: the same for a stream that ssh has.
func TestProxyKeepAlive(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{IdleTimeout: 3 * time.Second})
	idle, kept := b.Start(t, rigtest.Node1), b.Start(t, "--keepalive", "1s", rigtest.Node1)
	far := []net.Conn{b.Far(t), b.Far(t)}
	select {
	case <-idle.Ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the idle session is not ended: the test shows nothing")
	}
	for range 3 { // three keep-alives are more than the timeout
		select {
		case <-kept.Ended:
			t.Fatalf("the session that is kept alive has ended: %s", kept.Said.String())
		case <-time.After(1500 * time.Millisecond):
		}
	}
	for _, c := range far {
		c.Write([]byte("hello")) // one of them has nobody to hear it
	}
	if _, err := io.ReadFull(kept.Out, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	for _, c := range far {
		c.Close()
	}
	kept.WantEnd(t, b, 5*time.Second, 0, "")
}
