package ssmproto_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// dialSocket returns a stream, and the TCP connection that it was last over.
func (r *rig) dialSocket(t testing.TB) (*ssmproto.Conn, *atomic.Pointer[net.TCPConn]) {
	t.Helper()
	socket := new(atomic.Pointer[net.TCPConn])
	cfg := &ssmproto.Config{Transport: r.Transport()}
	cfg.Transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			socket.Store(c.(*net.TCPConn))
		}
		return c, err
	}
	return r.dial(t, cfg), socket
}

// TestSteadyDownloadIsGathered: what comes at the agent's pace is taken in
// several messages at a time, and none of it is left lying in the end; whoever
// writes has the answer at once.
func TestSteadyDownloadIsGathered(t *testing.T) {
	r := newRig(t, ssmtest.Config{TLS: true})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	near, socket := r.dialSocket(t)
	far := r.far(t)
	gathers := func() bool {
		conn, err := socket.Load().SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		conn.Control(func(fd uintptr) { n, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT) })
		return n > ssmproto.MaxPayload
	}
	if gathers() {
		t.Error("before anything has come, it waits for several messages")
	}
	down := random(1<<20, 1)
	done := make(chan error, 2)
	download := func() {
		go func() { done <- send("down", far, down) }()
		go func() { done <- expect("down", near, down) }()
	}
	download()
	for !gathers() { // on a busy machine nothing comes steadily for a while
		if len(done) == 2 {
			check(t, <-done)
			check(t, <-done)
			if ctx.Err() != nil {
				t.Fatal("downloads of a minute were not gathered")
			}
			download()
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := near.Write([]byte("a key")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "end of it after a write", func() bool { return !gathers() })
	if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		check(t, <-done)
	}
	waitFor(t, "end of it with the download", func() bool { return !gathers() })
}
