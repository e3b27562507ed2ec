package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// TestDialerOldAgent: a pool's connections do not wait for each other, each has
// its own bytes, and sessions are used again.
func TestDialerOldAgent(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.OldAgent)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	d := newDialer(t, b.Server)
	const n = 6
	var pool []net.Conn
	for i := range n {
		c := dialled(t, d, rigtest.Node1+":7")
		if err := answers(c, fmt.Sprint("I am ", i)); err != nil {
			t.Error(err)
		}
		pool = append(pool, c)
	}
	for i, c := range pool {
		c.Write([]byte("left over"))
		go io.Copy(io.Discard, c) // who closes may still be reading
		c.Close()
		if err := answers(dialled(t, d, rigtest.Node1+":7"), strings.Repeat(fmt.Sprint(i), 10000)); err != nil {
			t.Error(err)
		}
	}
	if got := b.Calls("StartSession"); got > 2*n {
		t.Errorf("%d sessions", got)
	}
	// There are no more than 16 at once.
	for range 16 - n {
		dialled(t, d, rigtest.Node1+":7")
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	if _, err := d.DialContext(ctx, "tcp", rigtest.Node1+":7"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
}

// TestDialerSessions: connections are spread.
func TestDialerSessions(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	d := newDialer(t, b.Server)
	d.Sessions = 3
	rigtest.WaitFor(t, "three sessions", func() bool {
		dialled(t, d, rigtest.Node1+":7")
		return b.Live() == 3
	})
	for range 9 {
		dialled(t, d, rigtest.Node1+":7")
	}
	if n := b.Calls("StartSession"); n != 3 {
		t.Errorf("%d sessions", n)
	}
}

// TestDialerStalled: a connection that is not read does not hold up new ones
// for ever.
func TestDialerStalled(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("localhost:7", rigtest.ServeTCP(t, rigtest.Echo))
	chunk := make([]byte, 1<<20)
	b.Put("localhost:7", rigtest.ServeTCP(t, func(c net.Conn) {
		first := make([]byte, 1)
		io.ReadFull(c, first)
		if first[0] == 'e' {
			io.Copy(c, c)
			return
		}
		for {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}))
	d := newDialer(t, b.Server)
	flood := dialled(t, d, rigtest.Node1+":7")
	flood.Write([]byte("f"))
	full := func() bool { return b.Sessions()[0].BytesDown() > 64<<20 }
	for end := time.Now().Add(2 * time.Minute); !full(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes have come", b.Sessions()[0].BytesDown())
		}
	}
	rigtest.WaitFor(t, "a connection beside", func() bool {
		c := dialled(t, d, rigtest.Node1+":7")
		c.Write([]byte("e!"))
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	})
	flood.Close()
}

// TestDialerFull: where nothing goes out, because nobody there reads, a dial
// ends with its context.
func TestDialerFull(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	release := make(chan struct{})
	defer close(release)
	b.Put("localhost:8", rigtest.ServeTCP(t, func(net.Conn) { <-release }))
	d := newDialer(t, b.Server)
	full := dialled(t, d, rigtest.Node1+":8")
	b.StallAgent(true)
	// Soon, since another session is started for an agent that is silent for 5 s.
	full.SetWriteDeadline(time.Now().Add(time.Second))
	if n, err := full.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes were taken, %v", n, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	begun := time.Now()
	_, err := d.DialContext(ctx, "tcp", rigtest.Node1+":8")
	if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}
