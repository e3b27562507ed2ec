package ssmproto

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
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

// link is one WebSocket. One goroutine may read and one may write.
type link struct {
	net   *wire
	in    frameReader
	out   []byte        // frames to write
	masks *rand.ChaCha8 // unpredictable keys: RFC 6455 section 10.3
	wake  func()        // tells the writer that a ping or pong is due
	// settled is called once, by the reader, when the link has proved itself: see
	// settleTime.
	settled func()
	proof   bool // stream data or an acknowledgement has arrived

	messages int64 // received since the last call of alive
	stream   int64 // those of them that are stream data
	answered bool  // a ping or pong was received since then
	ponged   bool  // a pong was received since then

	why  atomic.Pointer[error] // why we gave the link up; nil: we did not
	ping atomic.Bool           // the writer is to send a ping
	pong atomic.Pointer[string]

	watch linkWatch

	steady      int // messages since steadySince
	steadySince time.Time
}

// hello is the first message on every link, as text.
type hello struct {
	MessageSchemaVersion string
	RequestID            string `json:"RequestId"`
	TokenValue           string
	ClientID             string `json:"ClientId"`
	ClientVersion        string
}

// dialLink opens the WebSocket that g grants, over the connection of early if
// that leads to the right host, and sends h. The caller starts its watch.
func dialLink(ctx context.Context, g Grant, h hello, t *http.Transport, early *headStart, wake func()) (*link, error) {
	u, err := url.Parse(g.URL)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, fmt.Errorf("stream URL %q is not a WebSocket URL", g.URL)
	}
	conn := early.take(ctx, u)
	if conn == nil {
		if conn, err = dialNet(ctx, u, t, nil); err != nil {
			return nil, fmt.Errorf("data channel: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, upgradeTimeout)
	defer cancel()
	plain := *u
	plain.Scheme = "ws" // TLS is done already
	dialer := websocket.Dialer{
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return &upgradeConn{wire: conn}, nil },
	}
	// The library itself handles deadlines, but not cancellation.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	header := g.Header.Clone()
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
	l := &link{
		net:   conn,
		masks: rand.NewChaCha8(randomSeed()),
		wake:  wake,
	}
	text, err := json.Marshal(h)
	if err == nil {
		l.queue(opText, text)
		_, err = conn.Write(l.out)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("data channel: %w", contextError(ctx, err))
	}
	l.out = l.out[:0]
	conn.socket.gather = true
	l.watch.born, l.watch.ping, l.watch.giveUp = time.Now(), l.ask, l.giveUp
	return l, nil
}

// alive records what was received since it was last called. It runs on the
// reader's goroutine.
func (l *link) alive() {
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
func (l *link) ask() {
	l.ping.Store(true)
	l.wake()
}

// fill waits for more from the service.
func (l *link) fill() error {
	n, err := l.net.Read(l.in.space())
	l.in.filled(n)
	if n == 0 && err != nil {
		return l.ended(err)
	}
	return nil
}

// next returns the next binary message that has been read, or nil; it is valid
// until fill is called. An error is the end of the link.
func (l *link) next() ([]byte, error) {
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
func (l *link) ended(err error) error {
	if why := l.why.Load(); why != nil {
		return *why
	}
	return fmt.Errorf("data channel: %w", err)
}

// drainTime is how long a link that is given up is still read: the data in the
// socket is here already, and the agent must retransmit what is not read.
const drainTime = 50 * time.Millisecond

// giveUp ends a link that is of no more use, once the data in its socket has
// been read.
func (l *link) giveUp(why error) {
	if l.why.CompareAndSwap(nil, &why) {
		l.net.socket.SetReadDeadline(time.Now().Add(drainTime))
		l.net.socket.SetWriteDeadline(time.Unix(1, 0))
		l.wake() // the writer finds out
	}
}

// queue adds a frame to what write sends.
func (l *link) queue(opcode byte, payload []byte) {
	l.out = appendFrame(l.out, opcode, payload, uint32(l.masks.Uint64()))
}

// write sends all that is queued, and any ping or pong that is due, together.
func (l *link) write() error {
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

// moderate records that messages have arrived, the last of size bytes. If they
// arrive steadily, at the agent's pace of one a millisecond, and nothing else
// is going on, it makes Read wait for several: waking up costs far more than
// handling a message. The delay is not noticeable in a download, and a
// keystroke ends it.
func (l *link) moderate(messages, size int, alone bool) {
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

// control reports whether write has a ping or pong to send.
func (l *link) control() bool { return l.ping.Load() || l.pong.Load() != nil }

// close ends the link at once; reader and writer return.
func (l *link) close() { l.net.Close() }

// newUUID returns a random UUID in the form that the hello message uses.
func newUUID() string {
	var u UUID
	crand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}
