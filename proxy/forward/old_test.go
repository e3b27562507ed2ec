package forward_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// TestForwardOldAgent: connections wait in line, and none gets another's bytes.
func TestForwardOldAgent(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.OldAgent)
	b.Put("web.internal:80", rigtest.ServeTCP(t, rigtest.Echo))
	f := b.Forward(t, 1, "-L", "0:web.internal:80")
	errs := make(chan error)
	const n = 8
	for i := range n {
		go func() { errs <- rigtest.Ask(f.Ready[0], strings.Repeat(string(rune('a'+i)), 50000)) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	// A connection that is given up in the middle leaves nothing to the next.
	c, err := net.Dial("tcp", f.Ready[0])
	if err != nil {
		t.Fatal(err)
	}
	c.Write(bytes.Repeat([]byte("left over"), 10000))
	io.ReadFull(c, make([]byte, 100))
	c.Close()
	if err := rigtest.Ask(f.Ready[0], "mine"); err != nil {
		t.Error(err)
	}
}
