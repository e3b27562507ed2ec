package ssmproto_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestReceiveBufferIsSmall, whoever has made the connection.
func TestReceiveBufferIsSmall(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	_, socket := r.dialSocket(t)
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
