package ssmproto

import (
	"net"
	"syscall"
)

// receiveBuffer is how many bytes the system may keep for a data channel that we
// have not read: what a session brings (1 MB/s at most) in a round trip of a
// quarter of a second. Left to itself the system takes megabytes, and all of them
// are lost with a link and repeated at ten messages a second.
const receiveBuffer = 256 << 10

// LimitReceiveBuffer is the Control of a net.Dialer for data channels: it keeps
// what is under way on them small, which is best done before connecting. A
// Config's Transport without a DialContext has it.
func LimitReceiveBuffer(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { setReceiveBuffer(fd, receiveBuffer) }) // a hint
}

// limitReceiveBuffer does the same for a connection that somebody else has made.
func limitReceiveBuffer(conn net.Conn) {
	if c, ok := conn.(interface{ SetReadBuffer(bytes int) error }); ok {
		c.SetReadBuffer(receiveBuffer)
	}
}
