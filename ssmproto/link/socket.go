package link

import (
	"net"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/rawio"
)

// wire is the connection below a link: TLS over a socket, or the socket itself.
type wire struct {
	net.Conn
	socket *socket
}

// Close closes the socket at once. TLS would send an alert first, which takes
// seconds if the path is blocked.
func (w *wire) Close() error { return w.socket.Conn.Close() }

// release frees the resources used for reading. It is called after the last
// Read.
func (w *wire) release() {
	if w.socket.raw != nil {
		w.socket.raw.Close()
	}
}

// socket is the connection below TLS. It saves system calls: while gather is
// set, Write only buffers until flush, so that records that are ready together
// are sent together; and after calm, Read waits for several messages.
type socket struct {
	net.Conn
	raw *rawio.File // nil if not available

	gather bool // set before a second goroutine uses the socket
	out    []byte
}

// calmTime is how long the first of several messages may wait for the others.
// Usually they arrive sooner, and it elapses only after the last message.
const calmTime = 12 * time.Millisecond

func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if tcp, ok := conn.(*net.TCPConn); ok {
		s.raw = rawio.New(tcp)
	}
	return s
}

func (s *socket) Read(p []byte) (int, error) {
	if s.raw != nil {
		return s.raw.Read(p)
	}
	return s.Conn.Read(p)
}

// calm makes Read wait for n bytes, for up to calmTime, or for any number if n
// is 0. Only the goroutine that reads may call it.
func (s *socket) calm(n int) {
	if s.raw != nil {
		s.raw.Gather(n, calmTime)
	}
}

func (s *socket) Write(p []byte) (int, error) {
	if s.gather {
		s.out = append(s.out, p...)
		return len(p), nil
	}
	return s.write(p)
}

func (s *socket) write(p []byte) (int, error) {
	if s.raw != nil {
		return s.raw.Write(p)
	}
	return s.Conn.Write(p)
}

// flush writes what Write has buffered.
func (s *socket) flush() error {
	_, err := s.write(s.out)
	s.out = s.out[:0]
	return err
}

// upgradeConn is the connection that the WebSocket library opens the channel
// on. It reads byte by byte, so that the library's buffer never holds bytes
// after the response, and at most maxHead bytes.
type upgradeConn struct {
	*wire
	read int
}

func (u *upgradeConn) Read(p []byte) (int, error) {
	if u.read >= maxHead {
		return 0, errHeadTooLarge
	}
	n, err := u.wire.Read(p[:min(len(p), 1)])
	u.read += n
	return n, err
}

// SetDeadline does nothing: the library would overwrite the deadline that is
// set when the context ends.
func (*upgradeConn) SetDeadline(time.Time) error { return nil }
