package link

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// A link has proved itself once it has carried something that only a working
// session sends: stream data or an acknowledgement. An idle session sends
// neither, so a pong counts too once the link is older than settleTime. A link
// that is accepted, greeted and closed has proved nothing.
const settleTime = time.Second

// Link is one WebSocket. One goroutine may read, by Fill, Next and the methods
// that are said to be the reader's, and one may write, by Queue, Pending and
// Write. The other methods may be called concurrently.
type Link struct {
	net     *wire
	open    func(ctx context.Context) *HeadStart // starts a second connection to the service
	in      frameReader
	out     []byte        // frames to write
	masks   *rand.ChaCha8 // unpredictable keys: RFC 6455 section 10.3
	wake    func()        // tells the writer that a ping or pong is due
	settled func()        // called once, by the reader, when the link has proved itself; nil: it was
	proof   bool          // something has arrived that only a working session sends

	messages int64 // received since the last call of Alive
	stream   int64 // those of them that are stream data
	answered bool  // a ping or pong was received since then
	ponged   bool  // a pong was received since then

	why  atomic.Pointer[error] // why we gave the link up; nil: we did not
	ping atomic.Bool           // the writer is to send a ping
	pong atomic.Pointer[string]

	watch watch

	steady      int // messages since steadySince
	steadySince time.Time
}

// Request is what opens a Link.
type Request struct {
	URL    string      // ws or wss
	Header http.Header // of the upgrade request; nil: none
	First  []byte      // the first message, which is sent as text
}

// UpgradeTimeout bounds the upgrade once there is a connection.
const UpgradeTimeout = 5 * time.Second

// Dial opens the WebSocket that r describes, over the connection of early if
// that leads to the right host. It takes DialTimeout and UpgradeTimeout at most.
// wake is called when there is something to write that the writer does not know
// of; it must not block. An *UpgradeError or a *ProxyError says who refused.
func Dial(ctx context.Context, r Request, t *http.Transport, early *HeadStart, wake func()) (*Link, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, fmt.Errorf("stream URL %q is not a WebSocket URL", r.URL)
	}
	conn := early.take(ctx, u)
	if conn == nil {
		if conn, err = dialNet(ctx, u, t, nil); err != nil {
			return nil, fmt.Errorf("data channel: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, UpgradeTimeout)
	defer cancel()
	plain := *u
	plain.Scheme = "ws" // TLS is done already
	dialer := websocket.Dialer{
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return &upgradeConn{wire: conn}, nil },
	}
	// The library itself handles deadlines, but not cancellation.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header["Host"] = []string{u.Host} // as signed
	_, res, err := dialer.DialContext(ctx, plain.String(), header)
	if err != nil {
		stop()
		conn.Close()
		if errors.Is(err, websocket.ErrBadHandshake) && res != nil {
			return nil, &UpgradeError{Status: res.StatusCode, Foreign: Foreign(res), LeadsTo: LeadsTo(res)}
		}
		return nil, fmt.Errorf("data channel: %w", contextError(ctx, err))
	}
	l := newLink(conn, wake)
	l.open = func(ctx context.Context) *HeadStart { return startProbe(ctx, u, t) }
	l.queue(opText, r.First)
	_, err = conn.Write(l.out)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("data channel: %w", contextError(ctx, err))
	}
	l.out = l.out[:0]
	conn.socket.gather = true
	l.watch.born = time.Now()
	return l, nil
}

// New returns a Link over conn, on which a WebSocket was opened before. It
// cannot be watched.
func New(conn net.Conn, wake func()) *Link {
	socket := newSocket(conn)
	l := newLink(&wire{Conn: socket, socket: socket}, wake)
	socket.gather = true
	l.watch.born = time.Now()
	return l
}

func newLink(conn *wire, wake func()) *Link {
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	l := &Link{net: conn, masks: rand.NewChaCha8(seed), wake: wake}
	l.watch.ping, l.watch.giveUp = l.ask, l.giveUp
	return l
}

// LocalAddr returns the link's local address.
func (l *Link) LocalAddr() net.Addr { return l.net.LocalAddr() }

// RemoteAddr returns the service's address.
func (l *Link) RemoteAddr() net.Addr { return l.net.RemoteAddr() }

// Received records what was among the messages that the reader took: how many
// of the stream, and whether one was of a kind that only a working session
// sends. It is the reader's.
func (l *Link) Received(stream int64, proof bool) {
	l.stream += stream
	l.proof = l.proof || proof
}

// Alive tells the watch what was received since Alive was last called. It is
// the reader's, which calls it after each Fill and what follows. It may call the
// watch's functions.
func (l *Link) Alive() {
	messages := l.messages
	if messages == 0 && !l.answered {
		return
	}
	age, ponged := l.watch.age(), l.ponged
	l.watch.hear(age, l.stream, ponged)
	l.messages, l.stream, l.answered, l.ponged = 0, 0, false, false
	if l.settled != nil && (l.proof || ponged && age >= settleTime) {
		l.settled()
		l.settled = nil
	}
}

// ask requests a ping.
func (l *Link) ask() {
	l.ping.Store(true)
	l.wake()
}

// Fill waits for more from the service. An error is the end of the link.
func (l *Link) Fill() error {
	n, err := l.net.Read(l.in.space())
	l.in.filled(n)
	if n == 0 && err != nil {
		return l.ended(err)
	}
	return nil
}

// Next returns the next binary message that Fill has read, or nil; it is valid
// until Fill is called. An error is the end of the link.
func (l *Link) Next() ([]byte, error) {
	for {
		opcode, payload, err := l.in.next()
		switch {
		case err == errMoreToCome:
			return nil, nil
		case err != nil:
			return nil, l.ended(err)
		}
		switch opcode {
		case opBinary:
			l.messages++
			return payload, nil
		case opPing:
			l.answered = true
			data := string(payload)
			l.pong.Store(&data)
			l.wake()
		case opPong:
			l.answered, l.ponged = true, true
		case opClose:
			return nil, l.ended(closedByPeer(payload))
		}
	}
}

// ended returns the error that ended the link.
func (l *Link) ended(err error) error {
	if why := l.GivenUp(); why != nil {
		return why
	}
	return fmt.Errorf("data channel: %w", err)
}

// drainTime is how long a link that is given up is still read: the data in the
// socket is here already, and the agent must retransmit what is not read.
const drainTime = 50 * time.Millisecond

// giveUp ends a link that is of no more use, once the data in its socket has
// been read.
func (l *Link) giveUp(why error) {
	if l.why.CompareAndSwap(nil, &why) {
		l.net.socket.SetReadDeadline(time.Now().Add(drainTime))
		l.net.socket.SetWriteDeadline(time.Unix(1, 0))
		l.wake() // the writer finds out
	}
}

// Queue adds a binary message to what Write sends.
func (l *Link) Queue(message []byte) { l.queue(opBinary, message) }

func (l *Link) queue(opcode byte, payload []byte) {
	l.out = appendFrame(l.out, opcode, payload, uint32(l.masks.Uint64()))
}

// Pending reports whether Write has something to send.
func (l *Link) Pending() bool { return len(l.out) > 0 || l.ping.Load() || l.pong.Load() != nil }

// Write sends all that is queued, and any ping or pong that is due, together. An
// error is the end of the link.
func (l *Link) Write() error {
	if l.ping.Swap(false) {
		l.queue(opPing, nil)
	}
	if data := l.pong.Swap(nil); data != nil {
		l.queue(opPong, []byte(*data))
	}
	_, err := l.net.Write(l.out)
	l.out = l.out[:0]
	if err == nil {
		err = l.net.socket.flush()
	}
	if err != nil {
		return l.ended(err)
	}
	return nil
}

// Moderate records that messages have arrived, the last of size bytes. If they
// arrive steadily, at the agent's pace of one a millisecond, and nothing else
// is going on, it makes Fill wait for several: waking up costs far more than
// handling a message. The delay is not noticeable in a download, and a
// keystroke ends it. It is the reader's.
func (l *Link) Moderate(messages, size int, alone bool) {
	const (
		several = 6
		sample  = 32
		longest = sample * calmTime / several * 3 / 4 // or the other messages would come too late
	)
	if !alone {
		l.steady = 0
		l.net.socket.calm(0)
		return
	}
	if l.steady == 0 {
		l.steadySince = time.Now()
	}
	if l.steady += messages; l.steady >= sample {
		if time.Since(l.steadySince) > longest {
			size = 0
		}
		l.net.socket.calm(several * size)
		l.steady = 0
	}
}

// GivenUp returns why the link was given up, or nil if it was not.
func (l *Link) GivenUp() error {
	if why := l.why.Load(); why != nil {
		return *why
	}
	return nil
}

// Close closes the link at once; Fill and Write return.
func (l *Link) Close() { l.net.Close() }

// End closes the link and frees its resources, once nothing reads and writes any
// more. It returns when the link was lost, and a second connection if the watch
// has made one; the caller drops it.
func (l *Link) End() (lost time.Time, second *HeadStart) {
	l.Close()
	l.net.release()
	lost, second = l.watch.close()
	if lost.IsZero() {
		lost = time.Now()
	}
	return lost, second
}
