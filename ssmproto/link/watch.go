package link

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// watch watches one link: it runs the timer of its vigil and carries out
// what the vigil decides. Its methods may be called concurrently, except those
// of the reader.
type watch struct {
	born     time.Time
	ping     func()            // requests a ping
	giveUp   func(error)       // ends the link
	dial     func() *HeadStart // starts the second connection
	spawn    func(func())
	onSilent func(lasted time.Duration, over bool)

	// Used only by the goroutine that reads.
	window      int64         // messages of the stream since windowSince
	before      int64         // and in the second before that
	windowSince time.Duration // since born

	heardAt  atomic.Int64 // the last sign of life, ns since born
	provedAt atomic.Int64 // the last answer to a ping, likewise
	recent   atomic.Int64 // messages of the stream in the last second or two before heardAt
	paused   atomic.Bool  // the reader waits for room: silence means nothing
	told     atomic.Bool  // onSilent has been called for the present silence
	doubts   atomic.Bool  // the vigil is trying a second connection

	mu      sync.Mutex
	timer   *time.Timer // nil: the watch has not begun
	looked  bool        // check has run at least once
	over    bool
	due     time.Time // when check is to run,
	dueWall time.Time // and by the wall clock
	vigil   vigil
	quiet   time.Duration // when the silence that told refers to began
	second  *HeadStart    // the vigil's second connection; nil: there is none
}

// lateTime is how late a timer must be to show that this process did not run,
// because it was stopped or the machine was asleep. Data that arrived meanwhile
// has not been read yet.
const lateTime = 2 * time.Second

// ErrDeadPeer means that a link was given up because nothing arrived over it,
// not even pongs.
var ErrDeadPeer = errors.New("nothing heard on the data channel")

// Watch says how a Link is watched.
type Watch struct {
	// Patience is how long the link may be silent before a ping, PingAfter
	// unless a test is in a hurry. A dead link is given up after three times
	// that, at the earliest.
	Patience time.Duration

	// Limit is how long the link may be silent while the service cannot be
	// reached. 0 means no limit.
	Limit time.Duration

	// Go runs a function on a goroutine that the caller waits for.
	Go func(func())

	// OnSilent is called when the link has been silent for so long that another
	// connection is tried, and when that is over. Calls do not overlap.
	OnSilent func(lasted time.Duration, over bool)

	// OnSettled is called once, by the reader, when the link has proved itself:
	// when it has carried something that only a working session sends.
	OnSettled func()
}

// Watch starts the watch of the link, before anything is read. Connections that
// it tries end with ctx. When the link is dead, the watch gives it up, and Fill
// returns ErrDeadPeer.
func (l *Link) Watch(ctx context.Context, cfg Watch) {
	l.settled = cfg.OnSettled
	w := &l.watch
	w.vigil.patience, w.vigil.limit = cfg.Patience, cfg.Limit
	w.dial = func() *HeadStart { return l.open(ctx) }
	w.spawn, w.onSilent = cfg.Go, cfg.OnSilent
	w.start()
}

// Pause records that the reader waits for room, so that silence means nothing,
// and Unpause that it reads again.
func (l *Link) Pause() { l.watch.pause() }

// Unpause ends Pause.
func (l *Link) Unpause() { l.watch.unpause() }

// Silent reports whether the network may be down: nothing has been heard for so
// long that a second connection is being tried.
func (l *Link) Silent() bool { return l.watch.doubts.Load() }

// start begins the watch.
func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(time.Hour, w.check)
	w.sleep(min(w.vigil.patience, settleTime))
}

func (w *watch) age() time.Duration { return time.Since(w.born) }

// hear records that something was received: messages of the stream, if any, and
// possibly a pong. Only the goroutine that reads may call it.
func (w *watch) hear(age time.Duration, messages int64, pong bool) {
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

// pause records that the reader waits for room, so that silence means nothing,
// and unpause that it reads again.
func (w *watch) pause() { w.paused.Store(true) }

func (w *watch) unpause() {
	w.heardAt.Store(int64(w.age()))
	w.paused.Store(false)
}

// check runs when the timer is due.
func (w *watch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	late, lateWall := now.Sub(w.due), now.Round(0).Sub(w.dueWall)
	switch {
	case late > lateTime, slept(late, lateWall):
		w.vigil.suspect(w.age(), doubtTime)
		w.ping()
	case !w.looked:
		w.ping() // lets an idle link prove itself
	}
	w.looked = true
	w.look()
}

// doubtful puts the link in doubt: it must prove itself within patience.
func (w *watch) doubtful(patience time.Duration, rerouted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vigil.rerouted = rerouted
	if !w.vigil.inDoubt() {
		w.vigil.suspect(w.age(), patience)
		w.ping()
	}
	w.look()
}

// look carries out what the vigil decides and sets the timer. w.mu is held.
func (w *watch) look() {
	if w.over || w.timer == nil {
		return
	}
	v, now := &w.vigil, w.age()
	if w.paused.Load() {
		w.heardAt.Store(int64(now)) // an answer would not be read now
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

// sleep sets the timer. w.mu is held.
func (w *watch) sleep(d time.Duration) {
	now := time.Now()
	w.due, w.dueWall = now.Add(d), now.Round(0).Add(d)
	w.timer.Reset(d)
}

// tell reports a silence in which a second connection is tried, and its end.
// w.mu is held.
func (w *watch) tell(now time.Duration) {
	since := w.vigil.since()
	switch told := w.told.Load(); {
	case told && since > w.quiet:
		w.told.Store(false)
		w.onSilent(since-w.quiet, true)
	case w.vigil.begun > 0 && since <= w.vigil.begun && now-w.vigil.begun >= time.Second:
		w.told.Store(true)
		w.quiet = since
		w.onSilent(now-since, false)
	}
}

// await waits for the second connection.
func (w *watch) await(second *HeadStart) {
	<-second.done
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.second != second {
		second.Drop() // no longer needed
		return
	}
	w.vigil.probed(w.age(), second.err == nil)
	if second.err != nil {
		w.second = nil
	}
	w.look()
}

// dropSecond closes the second connection without waiting for that. w.mu is
// held.
func (w *watch) dropSecond() {
	if w.second == nil {
		return
	}
	select {
	case <-w.second.done:
		w.second.Drop()
	default:
		w.second.cancel() // await drops it
	}
	w.second = nil
}

// close ends the watch. It returns when the link fell silent, if it did, and
// the second connection if that has been made; the caller drops it.
func (w *watch) close() (silent time.Time, second *HeadStart) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.vigil.begun > 0 {
		silent = w.born.Add(w.vigil.since())
	}
	if w.vigil.stands > 0 {
		second, w.second = w.second, nil
	}
	w.dropSecond()
	return silent, second
}

// startProbe starts a connection like the one to u, without a token.
// Without TLS the far end must answer a request: a TCP connection alone may
// have been accepted by the far end's kernel, or by something in between.
func startProbe(ctx context.Context, u *url.URL, t *http.Transport) *HeadStart {
	if u.Scheme == "wss" {
		return start(ctx, u, t, nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	h := start(ctx, u, t, nil)
	answered := &HeadStart{to: h.to, cancel: cancel, done: make(chan struct{})}
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
