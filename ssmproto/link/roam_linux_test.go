package link

import (
	"context"
	"net"
	"os"
	"testing"
	"time"
)

func TestWatchLeavesNoDescriptor(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(fds)
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close() // now the runtime has the descriptors of its poller
	}
	before := count()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		WatchNetwork(ctx, func() {})
		close(ended)
	}()
	waitFor(t, "route socket or timer", func() bool { return count() > before })
	cancel()
	<-ended
	waitFor(t, "end of both", func() bool { return count() == before })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s after 30 s", what)
		}
	}
}
