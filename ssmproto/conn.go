package ssmproto

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/deadline"
	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// Conn is a stream over the data channel of one session. It outlives its
// WebSockets: when one ends it resumes the session and continues, and no byte
// of the stream is lost, duplicated or changed.
//
// It is a net.Conn: all methods may be called concurrently. Read returns io.EOF
// when the far side has ended the session normally. Close must be called; it
// ends the session.
type Conn struct {
	session Session
	cfg     Config
	log     *slog.Logger
	id      string // client id: the same on every link
	start   time.Time

	ctx    context.Context // ends with the Conn
	cancel context.CancelFunc
	wg     sync.WaitGroup // supervisor, watch on the network, and key request

	attempt atomic.Pointer[attempt] // to connect, while one is under way
	again   chan struct{}           // roamed was called: make the next attempt at once

	wake   chan struct{} // the writer has something to do
	opened chan struct{} // closed once the handshake is complete
	ended  chan struct{} // closed once err is set

	closing  sync.Once
	resuming sync.Mutex // held while session.Resume is called
	writing  sync.Mutex // held by Write, so that what one writes stays together

	mu         sync.Mutex
	readable   sync.Cond // data to read, an end, or a deadline
	writable   sync.Cond // room to write, an end, or a deadline
	drained    sync.Cond // what the link's reader and Close wait for
	readUntil  deadline.Deadline
	writeUntil deadline.Deadline

	s          *core.Stream
	hs         handshake
	exit       *int   // the command's exit status, once the agent has reported it
	asked      bool   // the agent has requested the handshake
	challenged bool   // the agent has sent its encryption challenge
	refusal    error  // why we refused the handshake
	refused    func() // called when the agent could not make a connection; nil: there is only one

	link        *link.Link
	linked      bool          // link is up
	cause       error         // why the last link ended
	stalled     bool          // the reader waits for room
	waiting     bool          // at the last check the agent owed an answer
	answered    time.Duration // when it last answered, or owed nothing
	silence     *silence      // nil: the agent is not silent
	silenceNews chan struct{} // closed when a silence begins or ends
	gapBegan    time.Duration // when the gap opened; 0: there is none
	gapTold     bool          // OnRepeat has been called for it
	gapSince    time.Duration // when progress was last made on it
	gapAt       int64         // how far the agent had come then
	lingering   int           // callers that wait for acknowledgements or for written
	written     int64         // number up to which messages are known to have been written

	over   bool        // the service has ended the session
	reason string      // why, in its words
	grace  *time.Timer // limits the wait for missing messages then; nil: nothing is missing
	err    error       // why the Conn has ended
}

// Dial opens session and returns once the agent is ready for data. If ctx ends
// before that, the session is terminated; once Dial has returned, ctx no longer
// affects the Conn.
func Dial(ctx context.Context, session Session, cfg *Config) (*Conn, error) {
	c := newConn(session, cfg)
	early := link.StartDial(c.ctx, c.cfg.Endpoint, c.cfg.Transport, nil)
	grant, err := session.Open(ctx)
	if err != nil {
		c.cancel()
		early.Drop()
		return nil, err
	}
	c.wg.Go(func() { c.supervise(grant, early) })
	c.wg.Go(func() { c.cfg.watchNetwork(c.ctx, c.roamed) })
	select {
	case <-c.opened:
		return c, nil
	case <-c.ended:
		err = c.Err()
	case <-ctx.Done():
		err = c.unopened(context.Cause(ctx))
	}
	c.Close()
	return nil, err
}

// unopened returns an error that says how far Dial got before its context
// ended.
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
		again:   make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		opened:  make(chan struct{}),
		ended:   make(chan struct{}),

		silenceNews: make(chan struct{}),
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
	if c.cfg.silenceAfter == 0 {
		c.cfg.silenceAfter = silenceAfter
	}
	if c.cfg.pingAfter == 0 {
		c.cfg.pingAfter = link.PingAfter
	}
	if c.cfg.watchNetwork == nil {
		c.cfg.watchNetwork = link.WatchNetwork
	}
	if c.cfg.Transport == nil {
		c.cfg.Transport, _ = http.DefaultTransport.(*http.Transport)
	}
	if c.cfg.Transport == nil { // the default has been replaced
		c.cfg.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	if c.log = c.cfg.Log; c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.readable.L, c.writable.L, c.drained.L = &c.mu, &c.mu, &c.mu
	c.readUntil.Cond, c.writeUntil.Cond = &c.readable, &c.writable
	c.s = core.NewStream(core.InputStreamData, core.OutputStreamData, c.start, randomSeed())
	c.s.Handle(c.control, c.channelClosed)
	return c
}

// randomSeed seeds the generator of message ids.
func randomSeed() (seed [32]byte) {
	rand.Read(seed[:]) // never fails
	return seed
}

// now returns the time for the core: the time since the Conn began, never 0.
func (c *Conn) now() time.Duration { return time.Since(c.start) + 1 }

// SessionType returns the session's type as the agent reports it.
func (c *Conn) SessionType() SessionType {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hs.sessionType
}

// AgentVersion returns the version that the agent reports, such as "3.3.0.0".
func (c *Conn) AgentVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hs.agentVersion
}

// Message returns the agent's message for the user, if any.
func (c *Conn) Message() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hs.message
}

// Read reads the next bytes of the stream.
func (c *Conn) Read(p []byte) (int, error) {
	n, _, err := c.ReadPart(p)
	return n, err
}

// ReadPart is like Read, and reports whether the bytes are from a command's
// standard error. It returns both outputs in the order in which the agent sent
// them, and never bytes of both in one call.
func (c *Conn) ReadPart(p []byte) (n int, stderr bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.readUntil.Passed() {
			return 0, false, os.ErrDeadlineExceeded
		}
		if len(p) == 0 {
			return 0, false, nil
		}
		if n, stderr := c.s.Read(p); n > 0 {
			if c.stalled && !c.s.Full() {
				c.drained.Broadcast()
			}
			if ready, _ := c.s.Buffered(); ready > 0 {
				c.readable.Signal() // another reader may be waiting
			}
			return n, stderr, nil
		}
		if c.s.Err() != nil {
			return 0, false, c.s.Err()
		}
		if c.err != nil {
			return 0, false, c.err
		}
		c.readable.Wait()
	}
}

// Write queues p and returns once all of it has been accepted for sending. It
// blocks while the window is full. An error means that not all of p was
// accepted.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.writeUntil.Passed() {
			return n, os.ErrDeadlineExceeded
		}
		if c.err != nil {
			return n, c.writeError()
		}
		if len(p) == n {
			return n, nil
		}
		if k := c.s.Write(p[n:]); k > 0 {
			n += k
			c.wakeWriter()
			continue
		}
		c.writable.Wait()
	}
}

// ReadFrom copies r to the stream until r ends; io.Copy calls it. It reads only
// as much as can be sent soon, so that it does not add a buffer in which data
// waits.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	buf := make([]byte, core.MaxBacklog)
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

// waitForSendRoom waits until Write would accept something without blocking,
// and returns how much.
func (c *Conn) waitForSendRoom() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.writeUntil.Passed() {
			return 0, os.ErrDeadlineExceeded
		}
		if c.err != nil {
			return 0, c.writeError()
		}
		if room := c.s.Room(); room > 0 {
			return min(room, core.MaxBacklog), nil
		}
		c.writable.Wait()
	}
}

// SendFlag sends a flag to the agent, in order after what has been written.
func (c *Conn) SendFlag(f Flag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.s.Control(core.FlagPayload, binary.BigEndian.AppendUint32(nil, uint32(f)))
		c.wakeWriter()
	}
}

// writeError returns the error for writers once the Conn has ended. c.mu is
// held.
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
