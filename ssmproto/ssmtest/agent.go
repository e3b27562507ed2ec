package ssmtest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"slices"
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
// goroutine handles them, so the fields down to phase are its alone. What the
// agent sends is in outbox.go.
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

func (a *agent) handle(data []byte) {
	m, err := ssmproto.Parse(data)
	switch {
	case err != nil:
		a.session.srv.logf("%s: from the client: %v", a.session.id, err)
	case a.deaf:
	case m.Type == ssmproto.Acknowledge:
		if n, err := ssmproto.ParseAck(m.Payload); err == nil {
			a.outbox.acknowledged(n)
		}
	case m.Type == ssmproto.InputStreamData:
		a.receive(&m)
	}
}

// receive puts a message in its place: done with, early, or next.
func (a *agent) receive(m *ssmproto.Message) {
	switch {
	case m.Sequence < a.expected:
		a.acknowledge(m) // the last acknowledgement was lost
	case a.phase == dialing && a.sessionType != nonInteractiveSession:
	case m.Sequence > a.expected:
		if _, ok := a.early[m.Sequence]; !ok {
			if len(a.early) >= a.cfg.ReorderLimit {
				return
			}
			a.early[m.Sequence] = early{m.PayloadType, slices.Clone(m.Payload)}
		}
		a.acknowledge(m)
	default:
		a.accept(m.PayloadType, m.Payload)
		a.acknowledge(m)
		for a.expected++; ; a.expected++ {
			e, ok := a.early[a.expected]
			if !ok {
				break
			}
			delete(a.early, a.expected)
			a.accept(e.payloadType, e.payload)
		}
	}
}

// accept takes the next message of the stream.
func (a *agent) accept(t ssmproto.PayloadType, payload []byte) {
	switch t {
	case ssmproto.Output:
		if a.cipher != nil {
			var err error
			if payload, err = a.cipher.open(payload); err != nil {
				a.session.srv.logf("%s: input: %v", a.session.id, err)
				return
			}
		}
		if a.phase == connected {
			a.toPort = append(a.toPort, payload...)
		}
	case ssmproto.Size:
		a.resize(payload)
	case ssmproto.EncChallengeResponse:
		a.challengeAnswered(payload)
	case ssmproto.HandshakeResponse:
		a.handshakeAnswered(payload)
	case ssmproto.FlagPayload:
		if len(payload) != 4 {
			return
		}
		a.flag(ssmproto.Flag(binary.BigEndian.Uint32(payload)))
	}
}

func (a *agent) flag(f ssmproto.Flag) {
	switch {
	case f == ssmproto.TerminateSession, f == ssmproto.DisconnectToPort && a.sessionType == portSession && !a.forwarding():
		a.flush()
		a.end()
	case f == ssmproto.DisconnectToPort && a.redials() && a.port != nil:
		a.flush()
		a.port.Close()
	}
}

// resize takes the size of the client's terminal.
func (a *agent) resize(payload []byte) {
	var size struct{ Cols, Rows uint16 }
	p, ok := a.port.(*program)
	if !ok || p.tty == nil || json.Unmarshal(payload, &size) != nil {
		return
	}
	a.flush() // what was typed before
	a.session.size.Store(uint32(size.Cols)<<16 | uint32(size.Rows))
	if err := p.resize(int(size.Cols), int(size.Rows)); err != nil {
		a.session.srv.logf("%s: size: %v", a.session.id, err)
	}
}

// acknowledge makes the acknowledgement of m, to be sent once the data before it
// has been written.
func (a *agent) acknowledge(m *ssmproto.Message) {
	a.ackBody = ssmproto.AppendAck(a.ackBody[:0], m)
	a.acks = appendFrame(a.acks, &ssmproto.Message{
		Type:          ssmproto.Acknowledge,
		SchemaVersion: 1,
		Created:       uint64(time.Now().UnixMilli()),
		Flags:         ssmproto.SYN | ssmproto.FIN,
		ID:            newID(),
		Payload:       a.ackBody,
	})
}

// flush writes what is in order to the port and then sends acknowledgements.
func (a *agent) flush() {
	if len(a.toPort) > 0 {
		a.writePort()
	}
	if len(a.acks) > 0 {
		a.session.toClient(a.acks, ackLimit)
		a.acks = emptied(a.acks)
	}
}
