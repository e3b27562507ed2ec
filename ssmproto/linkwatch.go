package ssmproto

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// linkWatch watches over one link: it keeps the time for its vigil and does what
// that says. Its methods may be called concurrently, but for those of the reader.
type linkWatch struct {
	born     time.Time
	ping     func()            // has a ping sent
	giveUp   func(error)       // ends the link
	dial     func() *headStart // begins the second connection
	spawn    func(func())      // runs it on a goroutine that is waited for
	onOutage func(Outage)      // told of a silence; calls do not overlap

	// Of the goroutine that reads.
	window      int64         // messages of the stream since windowSince
	before      int64         // and in the second before that
	windowSince time.Duration // since born

	heardAt  atomic.Int64 // the last sign of life, ns since born
	provedAt atomic.Int64 // the last answer to a ping, likewise
	recent   atomic.Int64 // messages of the stream in the last second or two before heardAt
	paused   atomic.Bool  // the reader waits for room: silence means nothing
	told     atomic.Bool  // onOutage was told that there is a silence
	doubts   atomic.Bool  // the vigil tries a second connection

	mu      sync.Mutex
	timer   *time.Timer
	looked  bool // once at least
	over    bool
	due     time.Time // when check is to run,
	dueWall time.Time // and by the wall clock
	vigil   vigil
	quiet   time.Duration // when the silence began that told is about
	second  *headStart    // the vigil's second connection; nil: there is none
}

// lateTime is by how much a timer must be late to mean that this process did not
// run, be it stopped or be the machine asleep. What came meanwhile is still to
// be read.
const lateTime = 2 * time.Second

// start begins the watch.
func (w *linkWatch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(time.Hour, w.check)
	w.sleep(min(w.vigil.patience, settleTime))
}

func (w *linkWatch) age() time.Duration { return time.Since(w.born) }

// hear takes in that something has come: messages of the stream, if any, and
// perhaps the answer to a ping. It is for the goroutine that reads.
func (w *linkWatch) hear(age time.Duration, messages int64, pong bool) {
	if d := age - w.windowSince; d >= time.Second {
		w.before = 0
		if d < 2*time.Second {
			w.before = w.window
		}
		w.window, w.windowSince = 0, age
	}
	w.window += messages
	w.recent.Store(w.before + w.window)
	w.heardAt.Store(int64(age))
	if pong {
		w.provedAt.Store(int64(age))
	}
	if w.told.Load() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.look()
	}
}

// pause and unpause say that the reader waits for room, so that silence means
// nothing, and that it reads again.
func (w *linkWatch) pause() { w.paused.Store(true) }

func (w *linkWatch) unpause() {
	w.heardAt.Store(int64(w.age()))
	w.paused.Store(false)
}

// check runs when the timer is due.
func (w *linkWatch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	late, lateWall := now.Sub(w.due), now.Round(0).Sub(w.dueWall)
	switch {
	case late > lateTime, slept(late, lateWall):
		w.vigil.suspect(w.age(), doubtTime)
		w.ping()
	case !w.looked:
		w.ping() // so that an idle link proves itself
	}
	w.looked = true
	w.look()
}

// doubtful has the link prove itself within patience.
func (w *linkWatch) doubtful(patience time.Duration, rerouted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vigil.rerouted = rerouted
	if !w.vigil.inDoubt() {
		w.vigil.suspect(w.age(), patience)
		w.ping()
	}
	w.look()
}

// look does what the vigil says and sets the timer. w.mu is held.
func (w *linkWatch) look() {
	if w.over {
		return
	}
	v, now := &w.vigil, w.age()
	if w.paused.Load() {
		w.heardAt.Store(int64(now)) // an answer would not be read
	}
	v.heard = time.Duration(w.heardAt.Load())
	v.proved = max(v.proved, time.Duration(w.provedAt.Load()))
	v.download = w.recent.Load() >= dearMessages
	w.tell(now)
	step, again := v.look(now)
	switch step {
	case stepCalm:
		w.dropSecond()
	case stepPing:
		w.ping()
	case stepProbe:
		w.ping()
		second := w.dial()
		w.second = second
		w.spawn(func() { w.await(second) })
	case stepEnd:
		w.over = true
		w.giveUp(ErrDeadPeer)
		return
	}
	w.doubts.Store(v.begun > 0)
	w.sleep(max(again-now, time.Millisecond))
}

// silent says whether the network may be away: nothing has been heard for so
// long that a second connection is tried.
func (w *linkWatch) silent() bool { return w.doubts.Load() }

// sleep sets the timer. w.mu is held.
func (w *linkWatch) sleep(d time.Duration) {
	now := time.Now()
	w.due, w.dueWall = now.Add(d), now.Round(0).Add(d)
	w.timer.Reset(d)
}

// tell tells of a silence during which a second connection is tried, and of its
// end. w.mu is held.
func (w *linkWatch) tell(now time.Duration) {
	since := w.vigil.since()
	switch told := w.told.Load(); {
	case told && since > w.quiet:
		w.told.Store(false)
		w.onOutage(Outage{Lasted: since - w.quiet, Over: true})
	case w.vigil.begun > 0 && since <= w.vigil.begun && now-w.vigil.begun >= time.Second:
		w.told.Store(true)
		w.quiet = since
		w.onOutage(Outage{Err: ErrDeadPeer, Lasted: now - since})
	}
}

// await waits for the second connection.
func (w *linkWatch) await(second *headStart) {
	<-second.done
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.second != second {
		second.drop() // nobody wants it any more
		return
	}
	w.vigil.probed(w.age(), second.err == nil)
	if second.err != nil {
		w.second = nil
	}
	w.look()
}

// dropSecond ends the second connection without waiting for its end. w.mu is
// held.
func (w *linkWatch) dropSecond() {
	if w.second == nil {
		return
	}
	select {
	case <-w.second.done:
		w.second.drop()
	default:
		w.second.cancel() // await drops it
	}
	w.second = nil
}

// close ends the watch. It returns since when the link has been silent, if it
// has, and the second connection if that stands; the caller drops it.
func (w *linkWatch) close() (silent time.Time, second *headStart) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
	if w.vigil.begun > 0 {
		silent = w.born.Add(w.vigil.since())
	}
	if w.vigil.stands > 0 {
		second, w.second = w.second, nil
	}
	w.dropSecond()
	return silent, second
}

// startProbe begins a connection like the one to address, without a token. What
// has no TLS must answer a request: that a socket was connected may be the work
// of the system at the far end, or of something on the way.
func startProbe(ctx context.Context, address string, t *http.Transport) *headStart {
	u, _ := url.Parse(address) // a link was made to it
	if u.Scheme == "wss" {
		return startDial(ctx, address, t, nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	h := startDial(ctx, address, t, nil)
	answered := &headStart{to: h.to, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(answered.done)
		<-h.done
		if answered.err = h.err; h.err != nil {
			return
		}
		defer h.conn.Close()
		stop := context.AfterFunc(ctx, func() { h.conn.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		h.conn.SetDeadline(time.Now().Add(besideTimeout))
		if _, answered.err = io.WriteString(h.conn, "HEAD / HTTP/1.1\r\nHost: "+u.Host+"\r\nConnection: close\r\n\r\n"); answered.err == nil {
			_, answered.err = h.conn.Read(make([]byte, 1))
		}
	}()
	return answered
}
