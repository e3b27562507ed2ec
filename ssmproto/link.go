package ssmproto

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
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
	ws   *websocket.Conn
	net  *batchConn
	in   []byte
	wake func() // tells the writer that ping or pong is due
	// settled is called once, by the reader, when the link has proved itself: by
	// a message, or by an answer after settleTime.
	settled func()

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
	batch := &batchConn{Conn: conn}
	plain := *u
	plain.Scheme = "ws" // TLS is done already
	dialer := websocket.Dialer{
		NetDialContext:  func(context.Context, string, string) (net.Conn, error) { return batch, nil },
		ReadBufferSize:  32 << 10,
		WriteBufferSize: 4 << 10,
	}
	// The library's own deadline handling knows deadlines only, not cancellation.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	header := g.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header["Host"] = []string{u.Host} // as signed
	ws, res, err := dialer.DialContext(ctx, plain.String(), header)
	if err != nil {
		stop()
		conn.Close()
		if errors.Is(err, websocket.ErrBadHandshake) && res != nil {
			return nil, &UpgradeError{Status: res.StatusCode}
		}
		return nil, fmt.Errorf("data channel: %w", contextError(ctx, err))
	}
	l := &link{ws: ws, net: batch, wake: wake, born: time.Now(), patience: patience}
	ws.SetReadLimit(MaxFrame)
	ws.SetPongHandler(func(string) error { l.alive(false); return nil })
	ws.SetPingHandler(func(data string) error {
		l.alive(false)
		l.pong.Store(&data)
		l.wake()
		return nil
	})
	// The answer to a close is up to the Conn, which writes from one goroutine.
	ws.SetCloseHandler(func(int, string) error { return nil })

	text, err := json.Marshal(h)
	if err == nil {
		err = ws.WriteMessage(websocket.TextMessage, text)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		batch.Close()
		return nil, fmt.Errorf("data channel: %w", contextError(ctx, err))
	}
	batch.gather = true
	l.watch = time.AfterFunc(min(patience, settleTime), l.check)
	return l, nil
}

// alive notes a sign of life. It runs on the reader's goroutine.
func (l *link) alive(message bool) {
	age := time.Since(l.born)
	l.heard.Store(int64(age))
	if message {
		l.frames.Add(1)
	}
	if l.settled != nil && (message || age >= settleTime) {
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

// read returns the next binary frame, valid until the next call.
func (l *link) read() ([]byte, error) {
	for {
		kind, r, err := l.ws.NextReader()
		if err != nil {
			return nil, l.ended(err)
		}
		l.alive(true)
		l.in = l.in[:0]
		for err == nil {
			if len(l.in) == cap(l.in) {
				l.in = append(l.in, make([]byte, max(len(l.in), 2<<10))...)[:len(l.in)]
			}
			var n int
			n, err = r.Read(l.in[len(l.in):cap(l.in)])
			l.in = l.in[:len(l.in)+n]
		}
		if err != io.EOF {
			return nil, l.ended(err)
		}
		if kind == websocket.BinaryMessage {
			return l.in, nil
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

// write sends a batch of frames, and pings and pongs that are due, in one go.
func (l *link) write(frames []byte, ends []int) error {
	start := 0
	for _, end := range ends {
		if err := l.ws.WriteMessage(websocket.BinaryMessage, frames[start:end]); err != nil {
			return l.ended(err)
		}
		start = end
	}
	if l.ping.Swap(false) {
		if err := l.ws.WriteControl(websocket.PingMessage, nil, time.Time{}); err != nil {
			return l.ended(err)
		}
	}
	if data := l.pong.Swap(nil); data != nil {
		if err := l.ws.WriteControl(websocket.PongMessage, []byte(*data), time.Time{}); err != nil {
			return l.ended(err)
		}
	}
	if err := l.net.flush(); err != nil {
		return l.ended(err)
	}
	return nil
}

// control says that write has something to do without frames.
func (l *link) control() bool { return l.ping.Load() || l.pong.Load() != nil }

// close ends the link at once; reader and writer return.
func (l *link) close() {
	l.watch.Stop()
	l.net.Close()
}

// batchConn gathers what is written until flush, so that frames that are ready
// together share one TLS record and one system call.
type batchConn struct {
	net.Conn
	gather bool // set before there is a second goroutine

	mu  sync.Mutex // the WebSocket library may write from the reader's goroutine
	buf []byte
}

func (b *batchConn) Write(p []byte) (int, error) {
	if !b.gather {
		return b.Conn.Write(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// SetDeadline does nothing: the WebSocket library would undo with it what the
// context's end has set.
func (b *batchConn) SetDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: the library asks for none before every frame.
func (b *batchConn) SetWriteDeadline(time.Time) error { return nil }

// Close closes the socket at once. TLS would try to say goodbye first, which
// takes seconds on a path that takes nothing.
func (b *batchConn) Close() error {
	if t, ok := b.Conn.(*tls.Conn); ok {
		return t.NetConn().Close()
	}
	return b.Conn.Close()
}

func (b *batchConn) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.buf) == 0 {
		return nil
	}
	_, err := b.Conn.Write(b.buf)
	b.buf = b.buf[:0]
	return err
}

// newUUID returns a random UUID as the hello message wants it.
func newUUID() string {
	var u UUID
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}
