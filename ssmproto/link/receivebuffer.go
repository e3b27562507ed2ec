package link

import (
	"net"
	"syscall"
)

// receiveBuffer is how many unread bytes the system may buffer for a data
// channel: what a session carries (at most 1 MB/s) in a round trip of a quarter
// of a second. By default the system buffers megabytes, all of which are lost
// with a link and retransmitted at ten messages a second.
const receiveBuffer = 256 << 10

// LimitReceiveBuffer is the Control of a net.Dialer for data channels: it
// limits how much is in flight on them, which works best before connecting. It
// is used if a Config's Transport has no DialContext.
func LimitReceiveBuffer(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { setReceiveBuffer(fd, receiveBuffer) }) // a hint
}

// limitReceiveBuffer does the same for a connection that the Transport's
// DialContext has made.
func limitReceiveBuffer(conn net.Conn) {
	if c, ok := conn.(interface{ SetReadBuffer(bytes int) error }); ok {
		c.SetReadBuffer(receiveBuffer)
	}
}
