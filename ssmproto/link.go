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

// When a link is quiet for pingAfter we ask whether anybody is there, and when
// it was quiet for deadFactor times that it is given up: a dead peer is known
// within 15 s. During a download two fifths of that must do, because all that
// the agent sends into the void it repeats later, at ten messages a second; no
// less, because links that stand still for some seconds and then go on are
// common on the road.
const (
	pingAfter  = 5 * time.Second
	deadFactor = 3
	busyFrames = 100 // between two looks: a download
)

// settleTime is how long a link must live before an answer to a ping proves it
// good. One that takes us in and throws us out at once has not.
const settleTime = time.Second

// link is one WebSocket. One goroutine may read and one may write.
type link struct {
	net   *wire
	in    frameReader
	out   []byte        // frames to write
	masks *rand.ChaCha8 // keys that nobody can guess: RFC 6455 section 10.3
	wake  func()        // tells the writer that ping or pong is due
	// settled is called once, by the reader, when the link has proved itself: by
	// a message, or by an answer after settleTime.
	settled func()

	messages int64 // come since the last call of alive
	answered bool  // and a ping or pong

	heard    atomic.Int64 // time of the last sign of life, ns since born
	born     time.Time
	paused   atomic.Bool // the reader waits for room: silence means nothing
	ping     atomic.Bool // the writer is to send a ping
	pong     atomic.Pointer[string]
	dead     atomic.Bool
	frames   atomic.Int64  // messages received
	checked  int64         // of which this many at the last look
	busy     time.Duration // when a look found a download under way
	watch    *time.Timer
	looked   bool          // check has run
	patience time.Duration // how long silence may last before a ping

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

// dialLink opens a WebSocket with what g grants and introduces us, on a
// connection that early brings, if that leads to the right place. When it has
// been quiet for patience, it is asked for a sign of life.
func dialLink(ctx context.Context, g Grant, h hello, t *http.Transport, early *headStart, patience time.Duration, wake func()) (*link, error) {
	u, err := url.Parse(g.URL)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, fmt.Errorf("stream URL %q is not a WebSocket's", g.URL)
	}
	conn := early.take(ctx, u)
	if conn == nil {
		if conn, err = dialNet(ctx, u, t); err != nil {
			return nil, fmt.Errorf("data channel: %w", err)
		}
	}
	plain := *u
	plain.Scheme = "ws" // TLS is done already
	dialer := websocket.Dialer{
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return upgradeConn{conn}, nil },
	}
	// The library's own deadline handling knows deadlines only, not cancellation.
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
			return nil, &UpgradeError{Status: res.StatusCode}
		}
		return nil, fmt.Errorf("data channel: %w", contextError(ctx, err))
	}
	l := &link{
		net:      conn,
		masks:    rand.NewChaCha8(randomSeed()),
		wake:     wake,
		born:     time.Now(),
		patience: patience,
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
	l.watch = time.AfterFunc(time.Hour, l.check)
	l.watch.Reset(min(patience, settleTime)) // only now, because check uses l.watch
	return l, nil
}

// alive notes what has come since it was last called. It runs on the reader's
// goroutine.
func (l *link) alive() {
	messages := l.messages
	if messages == 0 && !l.answered {
		return
	}
	l.messages, l.answered = 0, false
	age := time.Since(l.born)
	l.heard.Store(int64(age))
	l.frames.Add(messages)
	if l.settled != nil && (messages > 0 || age >= settleTime) {
		l.settled()
		l.settled = nil
	}
}

// check runs on the watch timer.
func (l *link) check() {
	now := time.Since(l.born)
	if l.paused.Load() {
		l.heard.Store(int64(now))
	}
	patience := l.patience
	if !l.looked {
		l.looked = true
		l.ping.Store(true)
		l.wake()
	}
	if frames := l.frames.Load(); frames-l.checked >= busyFrames {
		l.busy = now
		l.checked = frames
	}
	if l.busy > 0 && now-l.busy < deadFactor*patience {
		patience = patience * 2 / 5
	}
	quiet := now - time.Duration(l.heard.Load())
	switch limit := deadFactor * patience; {
	case quiet >= limit:
		l.dead.Store(true)
		l.net.Close()
	case quiet >= patience:
		l.ping.Store(true)
		l.wake()
		l.watch.Reset(min(patience, limit-quiet))
	default:
		l.watch.Reset(patience - quiet)
	}
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
			l.answered = true
		case opClose:
			return nil, l.ended(closedByPeer(payload))
		}
	}
}

// ended says why the link is over.
func (l *link) ended(err error) error {
	if l.dead.Load() {
		return ErrDeadPeer
	}
	return fmt.Errorf("data channel: %w", err)
}

// queue adds a frame to what write sends.
func (l *link) queue(opcode byte, payload []byte) {
	l.out = appendFrame(l.out, opcode, payload, uint32(l.masks.Uint64()))
}

// write sends what is queued, and pings and pongs that are due, in one go.
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

// moderate takes in that messages have come, the last of size bytes. When they
// come steadily, at the agent's pace of one a millisecond, and nothing else is
// going on, Read waits for several: to wake up costs far more than to take one
// in. Whoever watches a download does not see the difference, and a keystroke
// ends it.
func (l *link) moderate(messages, size int, alone bool) {
	const (
		several = 6
		sample  = 32
		longest = sample * calmTime / several * 3 / 4 // or the others would not come in time
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

// control says that write has something to do without frames.
func (l *link) control() bool { return l.ping.Load() || l.pong.Load() != nil }

// close ends the link at once; reader and writer return.
func (l *link) close() {
	l.watch.Stop()
	l.net.Close()
}

// newUUID returns a random UUID as the hello message wants it.
func newUUID() string {
	var u UUID
	crand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}
