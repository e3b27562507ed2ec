package agent

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// Version is the default version of agents.
const Version = "3.3.0.0"

// Config configures an agent's behaviour. The zero value is amazon-ssm-agent
// 3.3.
type Config struct {
	// Version is the version in the handshake; "" means [Version].
	Version string

	// NoSleep omits the sleep of 1 ms after each message with data, and reads
	// the port in larger pieces. It also omits the second before a shell's
	// terminal is read, and the seconds before a command's failure is reported.
	NoSleep bool

	// ReorderLimit is how many messages are buffered when they arrive out of
	// order, and how many of its own messages the agent keeps until they are
	// acknowledged; those in excess are not kept, so never retransmitted. 0
	// means 100,000.
	ReorderLimit int

	// MessageSize is the maximum number of stream bytes in a message; 0 means
	// 1,024.
	MessageSize int

	// NoHandshake makes it a very old agent, whose first message is output.
	NoHandshake bool

	// HandshakeTimeout is how long the client may take to answer; 0 means 15 s.
	HandshakeTimeout time.Duration

	// NoSeparateOutput makes it an agent too old to separate a command's
	// outputs: it sends both after the command has ended, and no exit code,
	// whatever was requested.
	NoSeparateOutput bool

	// NoChallenge omits the random challenge from a request for encryption.
	NoChallenge bool

	// ResendEvery is how often the oldest unacknowledged message is checked,
	// and so the time that each lost message costs; 0 means 100 ms.
	ResendEvery time.Duration
}

func (c Config) withDefaults() Config {
	orElse := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Version == "" {
		c.Version = Version
	}
	orElse(&c.ReorderLimit, 100_000)
	orElse(&c.MessageSize, 1024)
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = 15 * time.Second
	}
	if c.ResendEvery == 0 {
		c.ResendEvery = 100 * time.Millisecond
	}
	return c
}

const (
	// flushTime is how long the agent waits at the end for acknowledgements.
	flushTime = 2 * time.Second

	// inboxLimit is how many bytes may wait for an agent (whose port is not
	// read, or which is stalled) before the sockets are no longer read. It is
	// well above what a client has in flight, so that its pings are answered.
	inboxLimit = 8 << 20

	// writeSize is how much is written to the port at once.
	writeSize = 64 << 10

	// spareLimit is how large a buffer may be to be reused, so that a stall
	// does not increase memory for good.
	spareLimit = 512 << 10
)

// phase is the state of an agent. It determines what the agent does with data.
type phase int

const (
	handshaking phase = iota // data is acknowledged and discarded
	dialing                  // data is neither acknowledged nor kept (a command's: as above)
	connected                // data is written, then acknowledged
)

// Agent is a session's worker on a node. Deliver passes messages to run's
// goroutine, which handles them; only that goroutine uses the fields from phase
// to challenge. input.go handles messages, outbox.go sends them.
type Agent struct {
	job    Job
	ctx    context.Context
	cancel context.CancelFunc // stops everything
	begin  sync.Once

	phase         phase
	asked         time.Time       // when HandshakeRequest was sent
	answered      bool            // HandshakeResponse has been received
	clientVersion string          // from HandshakeResponse
	deaf          bool            // a second HandshakeResponse has blocked the agent
	expected      int64           // the next sequence number
	early         map[int64]early // messages after expected
	toPort        []byte          // in-order data, not yet written
	acks          []byte          // frames, not yet sent
	ackBody       []byte          // scratch
	port          io.WriteCloser
	pumped        chan struct{} // closed when port is no longer read
	timer         *time.Timer   // for the handshake's next step
	dialed        chan io.WriteCloser
	cipher        *agentCipher // nil: the session is not encrypted
	challenge     []byte       // the challenge that the client must send back, or nil

	randomChallenge string // in the encryption context; "": none

	up, down    atomic.Int64 // bytes through the port
	connections atomic.Int64 // open connections to the port
	dials       atomic.Int64 // connections made

	outbox outbox

	inMu   sync.Mutex
	inbox  []byte    // a batch, see wire.Messages
	room   sync.Cond // the inbox has been emptied
	wake   chan struct{}
	spares chan []byte // emptied inboxes
}

// early is a message that arrived out of order.
type early struct {
	payloadType core.PayloadType
	payload     []byte
}

// New returns an agent for job. It does nothing before Start.
func New(job Job) *Agent {
	job.Config = job.Config.withDefaults()
	a := &Agent{
		job:    job,
		early:  make(map[int64]early),
		dialed: make(chan io.WriteCloser, 1),
		wake:   make(chan struct{}, 1),
		spares: make(chan []byte, 2),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.room.L = &a.inMu
	a.outbox.init(a)
	return a
}

// Start starts the agent, or resumes it after Pause.
func (a *Agent) Start() {
	a.outbox.setPaused(false)
	if a.ctx.Err() != nil {
		return
	}
	a.begin.Do(func() {
		a.job.Service.Go(a.run)
		a.job.Service.Go(a.outbox.resendLoop)
	})
}

// Pause tells the agent that the client's socket is gone, as pause_publication
// does. Only Start ends the pause: new messages of the client can only arrive
// on a new socket, and messages still in the inbox arrived before.
func (a *Agent) Pause() { a.outbox.setPaused(true) }

// Paused reports whether the agent is paused. It is paused until Start is
// called.
func (a *Agent) Paused() bool { return a.outbox.isPaused() }

// end ends the session as the agent does, by telling the service.
func (a *Agent) end() { a.endWith("") }

// endWith is like end, with a reason for the user.
func (a *Agent) endWith(reason string) { a.job.Service.End(reason) }

// errorReason is the prefix of reasons that are an agent's error.
const errorReason = "----------ERROR-------\n"

// Stop ends the agent without telling anyone. It does not wait.
func (a *Agent) Stop() {
	a.cancel()
	a.job.Service.Stopped()
	a.inMu.Lock()
	a.room.Broadcast()
	a.inMu.Unlock()
	a.outbox.setPaused(false)
}

// Deliver passes a batch of messages to the agent and replaces it with an empty
// one. It waits while the agent's inbox is full.
func (a *Agent) Deliver(batch *[]byte) {
	a.inMu.Lock()
	for a.full() && a.ctx.Err() == nil {
		a.room.Wait()
	}
	switch {
	case a.ctx.Err() != nil: // the agent has ended
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

// Full reports whether Deliver would wait.
func (a *Agent) Full() bool {
	a.inMu.Lock()
	defer a.inMu.Unlock()
	return a.full()
}

// full is Full with a.inMu held.
func (a *Agent) full() bool { return len(a.inbox) > inboxLimit }

// Connections returns how many open connections to the port the agent has.
func (a *Agent) Connections() int { return int(a.connections.Load()) }

// Dials returns how many connections to the port the agent has made.
func (a *Agent) Dials() int64 { return a.dials.Load() }

// BytesUp returns how many bytes the agent has written to the port, over all
// connections, or to the terminal.
func (a *Agent) BytesUp() int64 { return a.up.Load() }

// BytesDown returns how many bytes the agent has read from the port, over all
// connections, or from the program.
func (a *Agent) BytesDown() int64 { return a.down.Load() }

// run runs the agent.
func (a *Agent) run() {
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
	a.timer = time.NewTimer(a.job.Config.HandshakeTimeout)
	defer a.timer.Stop()
	a.asked = time.Now()
	if a.job.Config.NoHandshake {
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
		if !a.running() { // checked last, as events also arrive during a stall
			return
		}
		next()
	}
}

// running waits while the agents are stalled. It returns false if this one has
// been stopped.
func (a *Agent) running() bool {
	return a.job.Service.Running(a.ctx.Done()) && a.ctx.Err() == nil
}

// handleInbox handles all messages in the inbox.
func (a *Agent) handleInbox() {
	a.inMu.Lock()
	batch := a.inbox
	a.inbox = nil
	a.room.Broadcast()
	a.inMu.Unlock()
	for m := range wire.Messages(batch) {
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

// emptied returns b emptied for reuse, or nil if it is too large to keep.
func emptied(b []byte) []byte {
	if cap(b) > spareLimit {
		return nil
	}
	return b[:0]
}
