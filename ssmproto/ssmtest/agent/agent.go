package agent

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// Version is the version of agents that do not say otherwise.
const Version = "3.3.0.0"

// Config is how an agent behaves. The zero value is amazon-ssm-agent 3.3.
type Config struct {
	// Version is what the handshake says; "" is [Version].
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

// Agent is a session's worker on a node. Messages come by Deliver; run's
// goroutine handles them, so the fields down to phase are its alone. What becomes
// of a message is in input.go, what the agent sends in outbox.go.
type Agent struct {
	job    Job
	ctx    context.Context
	cancel context.CancelFunc // stops everything
	begin  sync.Once

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
	inbox  []byte    // a batch, see wire.Messages
	room   sync.Cond // the inbox has been taken
	wake   chan struct{}
	spares chan []byte // emptied inboxes
}

// early is a message that came before its turn.
type early struct {
	payloadType ssmproto.PayloadType
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

// Start lets the agent begin, or go on after Pause.
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
// does. Only Start ends it: what the client sends can only come on a new
// socket, and what is still in the inbox came before.
func (a *Agent) Pause() { a.outbox.setPaused(true) }

// Paused says whether the agent is paused now. It is before Start.
func (a *Agent) Paused() bool { return a.outbox.isPaused() }

// end ends the session, as the agent does: the service has to hear of it.
func (a *Agent) end() { a.endWith("") }

// endWith is end with a reason for the user.
func (a *Agent) endWith(reason string) { a.job.Service.End(reason) }

// errorReason is what the reasons begin with that are an agent's error.
const errorReason = "----------ERROR-------\n"

// Stop ends the agent without a word. It does not wait.
func (a *Agent) Stop() {
	a.cancel()
	a.job.Service.Stopped()
	a.inMu.Lock()
	a.room.Broadcast()
	a.inMu.Unlock()
	a.outbox.setPaused(false)
}

// Deliver hands over a batch of messages and leaves an empty one. It waits
// while the agent has too much to do.
func (a *Agent) Deliver(batch *[]byte) {
	a.inMu.Lock()
	for a.full() && a.ctx.Err() == nil {
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

// Full says whether Deliver would wait.
func (a *Agent) Full() bool {
	a.inMu.Lock()
	defer a.inMu.Unlock()
	return a.full()
}

// full is Full with a.inMu held.
func (a *Agent) full() bool { return len(a.inbox) > inboxLimit }

// Connections is how many connections to the port the agent holds now.
func (a *Agent) Connections() int { return int(a.connections.Load()) }

// Dials is how many connections to the port the agent has made.
func (a *Agent) Dials() int64 { return a.dials.Load() }

// BytesUp is how many bytes the agent has written to the port, over all of its
// connections, or to the terminal.
func (a *Agent) BytesUp() int64 { return a.up.Load() }

// BytesDown is how many bytes the agent has read from the port or the program,
// likewise.
func (a *Agent) BytesDown() int64 { return a.down.Load() }

// run is the agent's life.
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
		if !a.running() { // looked at last: events come while it is stalled, too
			return
		}
		next()
	}
}

// running waits while the agents are stalled; false means that this one has
// been stopped.
func (a *Agent) running() bool {
	return a.job.Service.Running(a.ctx.Done()) && a.ctx.Err() == nil
}

// handleInbox handles all that has come.
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

// emptied is what b is to be used again as: nil if it is too large to keep.
func emptied(b []byte) []byte {
	if cap(b) > spareLimit {
		return nil
	}
	return b[:0]
}
