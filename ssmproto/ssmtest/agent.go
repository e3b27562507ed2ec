package ssmtest

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// AgentVersion is the version of agents that do not say otherwise.
const AgentVersion = "3.3.0.0"

// Agent is how an agent behaves. The zero value is amazon-ssm-agent 3.3.
type Agent struct {
	// Version is what the handshake says; "" is AgentVersion.
	Version string

	// NoSleep leaves out the sleep of 1 ms after each message with data, and
	// reads the port in larger pieces. It leaves out the second before a shell's
	// terminal is read, too, and those before a command's failure is told.
	NoSleep bool

	// ReorderLimit is how many messages are buffered when they come early, and
	// how many of its own the agent keeps until they are acknowledged; those
	// beyond are not kept, so never sent again. 0 is 100,000.
	ReorderLimit int

	// MessageSize is how many bytes of the stream a message has at most; 0 is
	// 1,024.
	MessageSize int

	// NoHandshake is a very old agent: its first message is output.
	NoHandshake bool

	// HandshakeTimeout is how long the client may take to answer; 0 is 15 s.
	HandshakeTimeout time.Duration

	// NoSeparateOutput is an agent too old to keep a command's outputs apart: it
	// sends both after the end, and no exit code, whatever is asked for.
	NoSeparateOutput bool

	// NoChallenge leaves the random challenge out of a request for encryption.
	NoChallenge bool

	// ResendEvery is how often the oldest unacknowledged message is looked at,
	// so the time for each message lost; 0 is 100 ms.
	ResendEvery time.Duration
}

func (a Agent) withDefaults() Agent {
	orElse := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	if a.Version == "" {
		a.Version = AgentVersion
	}
	orElse(&a.ReorderLimit, 100_000)
	orElse(&a.MessageSize, 1024)
	if a.HandshakeTimeout == 0 {
		a.HandshakeTimeout = 15 * time.Second
	}
	if a.ResendEvery == 0 {
		a.ResendEvery = 100 * time.Millisecond
	}
	return a
}

const (
	// flushTime is how long it waits at the end for acknowledgements.
	flushTime = 2 * time.Second

	// inboxLimit is how many bytes wait for an agent (whose port is not read,
	// or that is stalled) before the sockets are not read any more. It is well
	// above what a client has in flight, so that its pings are answered.
	inboxLimit = 8 << 20

	// writeSize is how much is written to the port at once.
	writeSize = 64 << 10

	// spareLimit is how large a buffer may be to be kept for the next time: one
	// stall shall not be seen in the memory of all that comes after it.
	spareLimit = 512 << 10
)

// phase is how far an agent is. It decides what becomes of data.
type phase int

const (
	handshaking phase = iota // acknowledged and thrown away
	dialing                  // neither acknowledged nor kept (a command's: as above)
	connected                // written, then acknowledged
)

// agent is a session's worker on a node. Messages come by deliver; run's
// goroutine handles them, so the fields down to phase are its alone. What becomes
// of a message is in agentinput.go, what the agent sends in outbox.go.
type agent struct {
	cfg         Agent
	session     *Session
	sessionType string
	properties  map[string]string
	ctx         context.Context
	cancel      context.CancelFunc // stops everything
	begin       sync.Once

	phase         phase
	asked         time.Time       // when HandshakeRequest was sent
	answered      bool            // HandshakeResponse has come
	clientVersion string          // what it says
	deaf          bool            // a second one has blocked the agent
	expected      int64           // the next sequence number
	early         map[int64]early // beyond expected
	toPort        []byte          // in-order data, not yet written
	acks          []byte          // frames, not yet sent
	ackBody       []byte          // scratch
	port          io.WriteCloser
	pumped        chan struct{} // closed when port is no longer read
	timer         *time.Timer   // of the handshake's next step
	dialed        chan io.WriteCloser
	cipher        *agentCipher // nil: the session is not encrypted
	challenge     []byte       // what the client has to send back, or nil

	randomChallenge string // of the encryption context; "" is none

	up, down    atomic.Int64 // bytes through the port
	connections atomic.Int64 // to the port, open
	dials       atomic.Int64 // connections made

	outbox outbox

	inMu   sync.Mutex
	inbox  []byte    // a batch, see messages
	room   sync.Cond // the inbox has been taken
	wake   chan struct{}
	spares chan []byte // emptied inboxes
}

// early is a message that came before its turn.
type early struct {
	payloadType ssmproto.PayloadType
	payload     []byte
}

func newAgent(s *Session, cfg Agent, sessionType string, properties map[string]string) *agent {
	a := &agent{
		cfg:         cfg,
		session:     s,
		sessionType: sessionType,
		properties:  properties,
		early:       make(map[int64]early),
		dialed:      make(chan io.WriteCloser, 1),
		wake:        make(chan struct{}, 1),
		spares:      make(chan []byte, 2),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.room.L = &a.inMu
	a.outbox.init(a)
	return a
}

// start lets the agent begin, or go on after pause.
func (a *agent) start() {
	a.outbox.setPaused(false)
	if a.ctx.Err() != nil {
		return
	}
	a.begin.Do(func() {
		a.session.srv.wg.Go(a.run)
		a.session.srv.wg.Go(a.outbox.resendLoop)
	})
}

// pause tells the agent that the client's socket is gone, as pause_publication
// does. Only start ends it: what the client sends can only come on a new
// socket, and what is still in the inbox came before.
func (a *agent) pause() { a.outbox.setPaused(true) }

// end ends the session, as the agent does: the service has to hear of it.
func (a *agent) end() { a.endWith("") }

// endWith is end with a reason for the user.
func (a *agent) endWith(reason string) {
	a.session.down.push(parcel{kind: farewell, data: []byte(reason)})
}

// errorReason is what the reasons begin with that are an agent's error.
const errorReason = "----------ERROR-------\n"

// stop ends the agent without a word. It does not wait.
func (a *agent) stop() {
	a.cancel()
	a.session.up.close()
	a.session.down.close()
	a.inMu.Lock()
	a.room.Broadcast()
	a.inMu.Unlock()
	a.outbox.setPaused(false)
}

// deliver hands over a batch of messages and leaves an empty one. It waits
// while the agent has too much to do.
func (a *agent) deliver(batch *[]byte) {
	a.inMu.Lock()
	for len(a.inbox) > inboxLimit && a.ctx.Err() == nil {
		a.room.Wait()
	}
	switch {
	case a.ctx.Err() != nil: // nobody is there
	case len(a.inbox) == 0:
		a.inbox = *batch
		select {
		case *batch = <-a.spares:
		default:
			*batch = nil
		}
	default:
		a.inbox = append(a.inbox, *batch...)
	}
	*batch = (*batch)[:0]
	a.inMu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run is the agent's life.
func (a *agent) run() {
	defer func() {
		a.cancel()
		if a.port != nil {
			a.port.Close()
		}
		select { // dialled, but too late
		case port := <-a.dialed:
			if port != nil {
				port.Close()
			}
		default:
		}
	}()
	a.timer = time.NewTimer(a.cfg.HandshakeTimeout)
	defer a.timer.Stop()
	a.asked = time.Now()
	if a.cfg.NoHandshake {
		a.timer.Stop()
		a.dial()
	} else {
		a.requestHandshake()
	}
	for {
		var next func()
		select {
		case <-a.ctx.Done():
		case <-a.wake:
			next = a.handleInbox
		case <-a.timer.C:
			next = a.handshakeStep
		case port := <-a.dialed:
			next = func() { a.connect(port) }
		}
		if !a.running() { // looked at last: events come while it is stalled, too
			return
		}
		next()
	}
}

// running waits while the agents are stalled; false means that this one has
// been stopped.
func (a *agent) running() bool {
	return a.session.srv.faults.stall.pass(a.ctx.Done()) && a.ctx.Err() == nil
}

// handleInbox handles all that has come.
func (a *agent) handleInbox() {
	a.inMu.Lock()
	batch := a.inbox
	a.inbox = nil
	a.room.Broadcast()
	a.inMu.Unlock()
	for m := range messages(batch) {
		if a.ctx.Err() != nil {
			return
		}
		a.handle(m)
		if len(a.toPort) >= writeSize {
			a.flush()
		}
	}
	a.flush()
	if batch = emptied(batch); batch != nil {
		select {
		case a.spares <- batch:
		default:
		}
	}
}

// emptied is what b is to be used again as: nil if it is too large to keep.
func emptied(b []byte) []byte {
	if cap(b) > spareLimit {
		return nil
	}
	return b[:0]
}
