package ssmproto_test

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestReceiveBufferIsSmall, whoever has made the connection.
func TestReceiveBufferIsSmall(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	var socket atomic.Pointer[net.TCPConn]
	cfg := &ssmproto.Config{Transport: r.Transport()}
	cfg.Transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			socket.Store(c.(*net.TCPConn))
		}
		return c, err
	}
	near, err := ssmproto.Dial(t.Context(), r.NewClient(node, "22"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	limited, err := (&net.Dialer{Control: ssmproto.LimitReceiveBuffer}).Dial("tcp", socket.Load().RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer limited.Close()
	for _, c := range []net.Conn{socket.Load(), limited} {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var size int
		raw.Control(func(fd uintptr) { size, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF) })
		if err != nil || size < 64<<10 || size > 512<<10 { // the kernel says twice what was asked for, or what it allows
			t.Errorf("a receive buffer of %d bytes, %v", size, err)
		}
	}
}
