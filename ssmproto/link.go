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
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// When a link is quiet we ask whether anybody is there, and when it stays quiet
// it is given up:
//
//	                   asked after      given up after
//	usually            pingAfter, 5 s   deadFactor times that, 15 s
//	during a download  2/5 of it, 2 s   deadFactor times that, 6 s
//	in doubt           at once          doubtTime, 2 s, or more (Conn.roamed)
//
// During a download it is less because all that the agent sends into the void
// it repeats later, at ten messages a second; no less than that, because links
// that stand still for some seconds and then go on are common on the road. A
// link is in doubt when the network has changed or the machine was asleep, until
// a ping is answered. Other things that are heard may have come before that and
// only be read now; they are a reason to wait longer, and no proof.
const (
	pingAfter  = 5 * time.Second
	deadFactor = 3
	busyFrames = 100 // between two looks: a download
)

// A link proves itself by what only a working session brings: stream data or an
// acknowledgement. On an idle session there is neither, so an answer to a ping
// does as well once the link has lived for settleTime. A link that takes us in,
// greets us and throws us out has proved nothing.
const settleTime = time.Second

// link is one WebSocket. One goroutine may read and one may write.
type link struct {
	net   *wire
	in    frameReader
	out   []byte        // frames to write
	masks *rand.ChaCha8 // keys that nobody can guess: RFC 6455 section 10.3
	wake  func()        // tells the writer that ping or pong is due
	// settled is called once, by the reader, when the link has proved itself: see
	// settleTime.
	settled func()
	proof   bool // stream data or an acknowledgement has come

	messages int64 // come since the last call of alive
	answered bool  // and a ping or pong
	ponged   bool  // and a pong

	heard    atomic.Int64 // time of the last sign of life, ns since born
	proved   atomic.Int64 // and of the last answer to a ping
	born     time.Time
	paused   atomic.Bool // the reader waits for room: silence means nothing
	ping     atomic.Bool // the writer is to send a ping
	pong     atomic.Pointer[string]
	frames   atomic.Int64          // messages received
	why      atomic.Pointer[error] // we gave the link up, if we did
	patience time.Duration         // how long silence may last before a ping

	looking    sync.Mutex // held by check, and for what follows
	watch      *time.Timer
	over       bool
	looked     time.Time     // when check ran last,
	lookedWall time.Time     // and by the wall clock
	checked    int64         // of frames, this many were there at the last look
	busy       time.Duration // when a look found a download under way
	doubted    time.Duration // when doubt came up, and
	doubt      time.Duration // how long silence may last since

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
			return nil, &UpgradeError{Status: res.StatusCode, Foreign: Foreign(res), LeadsTo: LeadsTo(res)}
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
	l.looking.Lock()
	defer l.looking.Unlock()
	l.watch = time.AfterFunc(min(patience, settleTime), l.check)
	return l, nil
}

// alive notes what has come since it was last called. It runs on the reader's
// goroutine.
func (l *link) alive() {
	messages := l.messages
	if messages == 0 && !l.answered {
		return
	}
	age := time.Since(l.born)
	l.heard.Store(int64(age))
	ponged := l.ponged
	if ponged {
		l.proved.Store(int64(age))
	}
	l.messages, l.answered, l.ponged = 0, false, false
	l.frames.Add(messages)
	if l.settled != nil && (l.proof || ponged && age >= settleTime) {
		l.settled()
		l.settled = nil
	}
}

// check runs on the watch timer.
func (l *link) check() {
	l.looking.Lock()
	defer l.looking.Unlock()
	now := time.Now()
	wall := now.Round(0)
	switch {
	case l.looked.IsZero():
		l.ask()
	case slept(now.Sub(l.looked), wall.Sub(l.lookedWall)):
		l.suspect(doubtTime)
	}
	l.looked, l.lookedWall = now, wall
	l.look()
}

// doubtful has the link prove itself.
func (l *link) doubtful(patience time.Duration) {
	l.looking.Lock()
	defer l.looking.Unlock()
	l.suspect(patience)
	l.look()
}

// suspect puts the link in doubt, unless it is already: it is asked for a sign
// of life at once, and given up if there is none within patience. l.looking is
// held.
func (l *link) suspect(patience time.Duration) {
	if l.doubted > time.Duration(l.proved.Load()) {
		return
	}
	l.doubted, l.doubt = time.Since(l.born), patience
	l.ask()
}

// ask has a ping sent.
func (l *link) ask() {
	l.ping.Store(true)
	l.wake()
}

// look gives the link up if it has been quiet for too long, or asks for a sign
// of life, and sets the timer. l.looking is held.
func (l *link) look() {
	if l.over {
		return
	}
	now := time.Since(l.born)
	if l.paused.Load() {
		l.heard.Store(int64(now)) // an answer would not be read
	}
	patience := l.patience
	if frames := l.frames.Load(); frames-l.checked >= busyFrames {
		l.busy = now
		l.checked = frames
	}
	if l.busy > 0 && now-l.busy < deadFactor*patience {
		patience = patience * 2 / 5
	}
	heard := time.Duration(l.heard.Load())
	askAt, endAt := heard+patience, heard+deadFactor*patience
	if l.doubted > time.Duration(l.proved.Load()) {
		endAt = min(endAt, max(heard, l.doubted)+l.doubt)
	}
	switch {
	case now >= endAt:
		l.giveUp(ErrDeadPeer)
	case now >= askAt:
		l.ask()
		l.watch.Reset(min(patience, endAt-now))
	default:
		l.watch.Reset(min(askAt, endAt) - now)
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
			l.answered, l.ponged = true, true
		case opClose:
			return nil, l.ended(closedByPeer(payload))
		}
	}
}

// ended says why the link is over.
func (l *link) ended(err error) error {
	if why := l.why.Load(); why != nil {
		return *why
	}
	return fmt.Errorf("data channel: %w", err)
}

// giveUp ends the link because it is no good any more.
func (l *link) giveUp(why error) {
	l.why.CompareAndSwap(nil, &why)
	l.net.Close()
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
	l.looking.Lock()
	l.over = true
	l.watch.Stop()
	l.looking.Unlock()
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
