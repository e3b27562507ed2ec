package ssmproto

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Conn is a stream over the data channel of one session. It outlives its
// WebSockets: when one ends it resumes the session and goes on, and nothing of
// the stream is lost, doubled or changed.
//
// It is a net.Conn: all methods may be called concurrently. Read returns
// io.EOF when the far side has ended the session as it should. Close must be
// called; it ends the session.
type Conn struct {
	session Session
	cfg     Config
	log     *slog.Logger
	id      string // client id: the same on every link
	start   time.Time

	ctx    context.Context // ends with the Conn
	cancel context.CancelFunc
	wg     sync.WaitGroup // supervisor and key request

	wake   chan struct{} // the writer has something to do
	opened chan struct{} // closed once the handshake is complete
	ended  chan struct{} // closed once err is set

	closing sync.Once
	writing sync.Mutex // held by Write, so that what one writes stays together

	mu         sync.Mutex
	readable   sync.Cond // data to read, an end, or a deadline
	writable   sync.Cond // room to write, an end, or a deadline
	drained    sync.Cond // what the link's reader or Close wait for
	readUntil  deadline
	writeUntil deadline

	s          *stream
	hs         handshake
	asked      bool  // the agent has asked for the handshake
	challenged bool  // the agent has sent its encryption challenge
	refusal    error // why we refused the handshake

	link      *link
	linked    bool          // link is up
	cause     error         // why the last link ended
	stalled   bool          // the reader waits for room
	answered  time.Duration // when the agent last had nothing to answer, or answered
	gapSince  time.Duration // when the gap at gapAt was found; 0: there is none
	gapAt     int64
	lingering int   // callers that wait for acknowledgements or for written
	written   int64 // number up to which messages are known to have been written

	over   bool   // the service has ended the session
	reason string // why, in its words
	err    error  // why there is no more to come
}

// Dial opens session and returns once the agent is ready for data. If ctx ends
// before, the session is terminated again; after that ctx means nothing to the
// Conn.
func Dial(ctx context.Context, session Session, cfg *Config) (*Conn, error) {
	c := newConn(session, cfg)
	early := startDial(c.ctx, c.cfg.Endpoint, c.cfg.Transport)
	grant, err := session.Open(ctx)
	if err != nil {
		c.cancel()
		early.drop()
		return nil, err
	}
	c.wg.Add(1)
	go c.supervise(grant, early)
	select {
	case <-c.opened:
		return c, nil
	case <-c.ended:
		err = c.failure()
	case <-ctx.Done():
		err = c.unopened(context.Cause(ctx))
	}
	c.Close()
	return nil, err
}

// unopened says how far Dial got until its context ended.
func (c *Conn) unopened(cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.linked:
		return &HandshakeError{cause}
	case c.cause != nil:
		return fmt.Errorf("%w: %w", cause, c.cause)
	}
	return fmt.Errorf("opening the data channel: %w", cause)
}

func newConn(session Session, cfg *Config) *Conn {
	c := &Conn{
		session: session,
		id:      newUUID(),
		start:   time.Now(),
		wake:    make(chan struct{}, 1),
		opened:  make(chan struct{}),
		ended:   make(chan struct{}),
	}
	if cfg != nil {
		c.cfg = *cfg
	}
	if c.cfg.ClientVersion == "" {
		c.cfg.ClientVersion = DefaultClientVersion
	}
	if c.cfg.ResumeTimeout == 0 {
		c.cfg.ResumeTimeout = DefaultResumeTimeout
	}
	if c.cfg.gapLimit == 0 {
		c.cfg.gapLimit = gapLimit
	}
	if c.cfg.pingAfter == 0 {
		c.cfg.pingAfter = pingAfter
	}
	if c.cfg.Transport == nil {
		c.cfg.Transport, _ = http.DefaultTransport.(*http.Transport)
	}
	if c.cfg.Transport == nil { // somebody replaced the default
		c.cfg.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	if c.log = c.cfg.Log; c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.readable.L, c.writable.L, c.drained.L = &c.mu, &c.mu, &c.mu
	c.readUntil.cond, c.writeUntil.cond = &c.readable, &c.writable
	c.s = newStream(InputStreamData, OutputStreamData, c.start, randomSeed())
	c.s.in.control = c.control
	c.s.closed = c.channelClosed
	return c
}

// now is the time for the core: since the Conn began, and never 0.
func (c *Conn) now() time.Duration { return time.Since(c.start) + 1 }

// SessionType returns what the agent says the session is.
func (c *Conn) SessionType() SessionType {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hs.sessionType
}

// Message returns what the agent has to say to the user, if anything.
func (c *Conn) Message() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hs.message
}

// Read reads the next bytes of the stream.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.readUntil.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		if len(p) == 0 {
			return 0, nil
		}
		if n := c.s.in.read(p); n > 0 {
			if c.stalled && !c.s.in.full() {
				c.drained.Broadcast()
			}
			if c.s.in.buf.n > 0 {
				c.readable.Signal() // another reader may wait
			}
			return n, nil
		}
		if c.s.in.err != nil {
			return 0, c.s.in.err
		}
		if c.err != nil {
			return 0, c.err
		}
		c.readable.Wait()
	}
}

// Write queues p and returns when all of it is on its way. It blocks while the
// window is full. An error means that not all of p was taken.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.writeUntil.passed() {
			return n, os.ErrDeadlineExceeded
		}
		if c.err != nil {
			return n, c.writeError()
		}
		if len(p) == n {
			return n, nil
		}
		if c.s.out.idle() {
			c.answered = c.now()
		}
		if k := c.s.out.write(p[n:]); k > 0 {
			n += k
			c.wakeWriter()
			continue
		}
		c.writable.Wait()
	}
}

// ReadFrom copies r to the stream until r ends; io.Copy calls it. It reads only
// what can be sent soon, so that nothing waits in a buffer of its own.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	buf := make([]byte, maxBacklog)
	for {
		room, err := c.waitForSendRoom()
		if err != nil {
			return n, err
		}
		k, readErr := r.Read(buf[:room])
		if _, err := c.Write(buf[:k]); err != nil {
			return n, err
		}
		n += int64(k)
		if readErr == io.EOF {
			return n, nil
		}
		if readErr != nil {
			return n, readErr
		}
	}
}

// waitForSendRoom returns how much Write would take now without blocking, once
// that is not nothing.
func (c *Conn) waitForSendRoom() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.writeUntil.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		if c.err != nil {
			return 0, c.writeError()
		}
		if room := c.s.out.room(); room > 0 {
			return min(room, maxBacklog), nil
		}
		c.writable.Wait()
	}
}

// writeError is what a writer is told once the Conn has ended. c.mu is held.
func (c *Conn) writeError() error {
	if c.err == io.EOF {
		return io.ErrClosedPipe
	}
	return c.err
}

func (c *Conn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Bounds of Close: for the acknowledgement of what was written last, and in all.
const (
	lingerTime = time.Second
	closeTime  = 1900 * time.Millisecond
)

// Close ends the session and frees everything, within 2 s: if there is a link,
// what was written is given one second to be acknowledged; the agent is told, and the service is
// asked to terminate the session.
func (c *Conn) Close() error {
	var err error
	c.closing.Do(func() {
		until := time.Now().Add(closeTime)
		c.linger(lingerTime)
		c.mu.Lock()
		over := c.over || errors.Is(c.err, ErrSessionEnded)
		c.mu.Unlock()
		if !over {
			c.sayGoodbye()
		}
		c.fail(net.ErrClosed)
		c.cancel()
		c.wg.Wait()
		if !over {
			ctx, cancel := context.WithDeadline(context.Background(), until)
			defer cancel()
			if err = c.session.Terminate(ctx); err != nil {
				err = fmt.Errorf("terminating the session: %w", err)
			}
		}
	})
	return err
}

// linger waits until everything written is acknowledged, if there is a link.
func (c *Conn) linger(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := deadline{cond: &c.drained}
	limit.set(time.Now().Add(d))
	defer limit.set(time.Time{})
	c.lingering++
	defer func() { c.lingering-- }()
	for c.linked && c.err == nil && !c.s.out.idle() && !limit.passed() {
		c.drained.Wait()
	}
}

// sayGoodbye tells the agent to end the session. It is usually not
// acknowledged, so only its writing is waited for, and that not for long.
func (c *Conn) sayGoodbye() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.linked || c.err != nil {
		return
	}
	c.s.out.control(FlagPayload, binary.BigEndian.AppendUint32(nil, uint32(TerminateSession)))
	c.wakeWriter()
	limit := deadline{cond: &c.drained}
	limit.set(time.Now().Add(100 * time.Millisecond))
	defer limit.set(time.Time{})
	c.lingering++
	defer func() { c.lingering-- }()
	for flag := c.s.out.end; c.linked && c.err == nil && c.written < flag && !limit.passed(); {
		c.drained.Wait()
	}
}

// fail ends the Conn with err, unless it has ended already.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *Conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	close(c.ended)
	c.cancel()
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.drained.Broadcast()
}

func (c *Conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// control handles what the agent sends beside the stream: in order, once, and
// with c.mu held.
func (c *Conn) control(t PayloadType, payload []byte) {
	var err error
	// The handshake is made once. A second answer would block the agent for
	// good, and nobody may switch encryption off in mid-session.
	once := func(done *bool) bool {
		first := !*done
		*done = true
		return first
	}
	switch {
	case t == HandshakeRequestType && once(&c.asked):
		request := append([]byte(nil), payload...)
		c.wg.Add(1)
		go c.answerHandshake(request)
	case t == EncChallengeRequest && once(&c.challenged):
		var response []byte
		if response, err = c.hs.answerChallenge(payload); err == nil {
			c.s.out.control(EncChallengeResponse, response)
		}
	case t == HandshakeComplete && c.refusal != nil:
		err = c.refusal
	case t == HandshakeComplete && !c.isOpen():
		var done handshakeComplete
		if err = json.Unmarshal(payload, &done); err == nil {
			c.hs.message = done.CustomerMessage
			c.s.in.cipher, c.s.out.cipher = c.hs.cipher, c.hs.cipher
			c.open()
		}
	case t == FlagPayload:
		err = c.flagged(payload)
	default:
		c.log.Debug("message ignored", "payload type", t)
	}
	if err != nil {
		var refused *HandshakeError
		if !errors.Is(err, ErrNotConnected) && !errors.As(err, &refused) {
			err = &HandshakeError{err}
		}
		c.failLocked(err)
	}
}

// flagged takes in a flag of the agent's.
func (c *Conn) flagged(payload []byte) error {
	if len(payload) != 4 {
		return nil
	}
	flag := Flag(binary.BigEndian.Uint32(payload))
	c.log.Debug("flag", "value", flag)
	// In a multiplexed session it is about one of many connections.
	if flag == ConnectToPortError && c.hs.properties["type"] != "LocalPortForwarding" {
		return ErrNotConnected
	}
	return nil
}

func (c *Conn) isOpen() bool {
	select {
	case <-c.opened:
		return true
	default:
		return false
	}
}

func (c *Conn) open() {
	if !c.isOpen() {
		c.log.Debug("handshake complete", "type", c.hs.sessionType, "agent", c.hs.agentVersion)
		close(c.opened)
	}
}

// answerHandshake runs on a goroutine of its own because a data key takes a
// call to KMS, during which acknowledgements must go on.
func (c *Conn) answerHandshake(request []byte) {
	defer c.wg.Done()
	var h handshake
	response, err := h.answer(c.ctx, request, c.cfg.ClientVersion, c.cfg.DataKey)
	c.mu.Lock()
	c.hs = h
	if response != nil {
		c.s.out.control(HandshakeResponse, response)
		c.wakeWriter()
	}
	if err != nil {
		c.refusal = &HandshakeError{err}
	}
	c.mu.Unlock()
	if err != nil {
		c.linger(lingerTime) // so that the agent learns it from the response
		c.fail(&HandshakeError{err})
	}
}

// closeGrace is how long a gap may stay open after channel_closed: what is
// missing may still be on its way, but nobody will send it again.
const closeGrace = time.Second

// channelClosed takes in that the service ended the session. c.mu is held.
func (c *Conn) channelClosed(payload []byte) {
	if c.over {
		return
	}
	c.over = true
	var closed struct{ Output string }
	json.Unmarshal(payload, &closed) // without a reason it is closed all the same
	c.reason = closed.Output
	c.log.Debug("channel closed", "output", c.reason)
	if c.s.in.gap() {
		time.AfterFunc(closeGrace, func() { c.fail(ErrGap) })
	}
	c.leave()
}

// leave ends the Conn once the service has ended the session and nothing is
// missing before what has come. c.mu is held.
func (c *Conn) leave() {
	if !c.over || c.s.in.gap() {
		return
	}
	err := error(io.EOF)
	switch {
	case c.refusal != nil:
		err = c.refusal
	case c.reason != "":
		err = &ClosedError{Reason: c.reason}
	case !c.isOpen():
		err = &HandshakeError{errors.New("the agent closed the session")}
	case c.s.in.total == 0 && c.s.in.held == 0 && !c.s.out.dataAcked:
		err = ErrNotConnected
	}
	c.failLocked(err)
}

// received hands one frame of the link to the core.
func (c *Conn) received(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, now := c.s.in.total, c.now()
	if err := c.s.receive(frame, now); err != nil {
		c.log.Debug("frame ignored", "err", err)
		return
	}
	c.answered = now
	if c.s.in.total > before {
		c.readable.Signal()
		if before == 0 {
			c.log.Debug("first bytes from the port")
		}
		if c.hs.agentVersion == "" {
			// Data before any handshake: an agent too old for one, so a shell.
			c.hs.sessionType = ShellSession
			c.open()
		}
	}
	if c.s.in.err != nil {
		c.failLocked(c.s.in.err)
	}
	c.leave()
	c.checkGap(now)
	if c.lingering > 0 && c.s.out.idle() {
		c.drained.Broadcast()
	}
	c.wakeWriter()
}

// checkAgent ends the Conn if the agent has not answered for too long. The link
// can be fine all the while: it ends at the service. c.mu is held.
func (c *Conn) checkAgent(now time.Duration) {
	if c.stalled || c.s.out.idle() {
		c.answered = now
	}
	if limit := c.cfg.ResumeTimeout; limit > 0 && now-c.answered > limit {
		c.failLocked(fmt.Errorf("%w (for %v)", ErrAgentSilent, limit))
	}
}

// gapLimit is how long a message may be missing while others come. The agent
// repeats it every second at the latest, if it still has it: those beyond its
// buffer it has not.
const gapLimit = 30 * time.Second

// checkGap ends the Conn over a gap that is not being filled. c.mu is held.
func (c *Conn) checkGap(now time.Duration) {
	switch {
	case !c.s.in.gap():
		c.gapSince = 0
	case c.gapSince == 0 || c.gapAt != c.s.in.next:
		c.gapSince, c.gapAt = now, c.s.in.next
	case now-c.gapSince > c.cfg.gapLimit:
		c.failLocked(ErrGap)
	}
}

// waitForRoom blocks the reader while Read does not keep up, so that memory
// stays flat and the agent is held back by TCP.
func (c *Conn) waitForRoom(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.in.full() {
		c.stalled = true
		l.paused.Store(true)
		for c.s.in.full() && c.err == nil && c.linked {
			c.drained.Wait()
		}
		c.stalled = false
		l.heard.Store(int64(time.Since(l.born)))
		l.paused.Store(false)
		c.s.out.postpone(c.now())
	}
	return c.err == nil && c.linked
}

// LocalAddr returns the address of the socket in use, or of none.
func (c *Conn) LocalAddr() net.Addr { return c.addr((net.Conn).LocalAddr) }

// RemoteAddr returns the service's address: the far side has none here.
func (c *Conn) RemoteAddr() net.Addr { return c.addr((net.Conn).RemoteAddr) }

func (c *Conn) addr(of func(net.Conn) net.Addr) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return noAddr{}
	}
	return of(c.link.net)
}

type noAddr struct{}

func (noAddr) Network() string { return "ssm" }
func (noAddr) String() string  { return "ssm" }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when Read gives up, also one that is under way.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readUntil.set(t)
	return nil
}

// SetWriteDeadline sets when Write gives up, also one that is under way.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeUntil.set(t)
	return nil
}

// deadline wakes those who wait on a condition when its time comes. The
// condition's lock guards it.
type deadline struct {
	cond  *sync.Cond
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	d.cond.Broadcast()
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.at = time.Now().Add(wait) // with the clock that the timer goes by
		d.timer = time.AfterFunc(wait, func() {
			d.cond.L.Lock()
			defer d.cond.L.Unlock()
			d.cond.Broadcast()
		})
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
