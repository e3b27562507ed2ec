package ssmproto

import (
	"net"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/rawio"
)

// wire is what a link runs on: TLS over a socket, or the socket itself.
type wire struct {
	net.Conn
	socket *socket
}

// Close closes the socket at once. TLS would try to say goodbye first, which
// takes seconds on a path that takes nothing.
func (w *wire) Close() error { return w.socket.Conn.Close() }

// release frees what reading has taken, when nobody reads any more.
func (w *wire) release() {
	if w.socket.raw != nil {
		w.socket.raw.Close()
	}
}

// socket is the connection below TLS. It makes system calls few: while gather
// is set, what is written waits for flush, so that records that are ready
// together go out together; and while it is calm, Read waits for several
// messages.
type socket struct {
	net.Conn
	raw *rawio.File // nil where that is not to be had

	gather bool // set before there is a second goroutine
	out    []byte
}

// calmTime is how long the first of several messages may wait for the others.
// Usually they come sooner, and it passes only once they have ended.
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

// calm makes Read wait for n bytes, but not long, or for any if n is 0. It is
// for the goroutine that reads.
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

// flush writes what has been gathered.
func (s *socket) flush() error {
	_, err := s.write(s.out)
	s.out = s.out[:0]
	return err
}

// upgradeConn is what the WebSocket library gets to open the channel on. It
// reads byte by byte, so that the library's buffer holds nothing of what follows
// the answer, and maxHead of them at most.
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

// SetDeadline does nothing: the library would undo with it what the context's
// end has set.
func (*upgradeConn) SetDeadline(time.Time) error { return nil }
