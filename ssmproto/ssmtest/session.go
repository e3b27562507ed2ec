package ssmtest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// idleReason is the reason sent to the client of a session that timed out.
const idleReason = "Your session timed out due to inactivity."

// Session is a session of a Server, from StartSession on. All methods may be
// called at any time and concurrently.
//
// Its bytes take this path. Each stage is one file, except the agent, which is
// a package, with its port and program:
//
//	client ── socket ── pipe (up) ─── session ── pipe (up) ─── agent ── port, program
//	       └─ socket ── pipe (down) ─ session ── pipe (down) ─┘
//
// The pipes on the left belong to the socket and end with it; SetPath
// configures them. Those on the right belong to the session; SetAgentPath
// configures them.
type Session struct {
	srv      *Server
	id       string
	node     Node
	document string
	params   map[string][]string
	reason   string
	started  time.Time
	agent    *agent.Agent
	up       *pipe // from the service to the agent
	down     *pipe // from the agent to the service
	done     chan struct{}

	links, resumes atomic.Int64
	lastUsed       atomic.Int64  // ns since the Unix epoch
	endedAt        atomic.Int64  // likewise; 0: it has not
	size           atomic.Uint32 // of the client's terminal, columns in the upper half

	// socket is the client's socket; nil: there is none. It is written under
	// mu, and read for every batch of messages.
	socket atomic.Pointer[socket]

	mu       sync.Mutex
	ended    bool
	tokens   map[string]bool // granted and not used yet
	clientID string          // of the first connection
	version  string          // the client's version, as last received
	idle     *time.Timer     // checks for the idle timeout; nil: there is none
}

// newSession makes a session. If id is "", it gets a random one.
func newSession(srv *Server, id string, node Node, r *sessionRequest, d document, properties map[string]string) *Session {
	s := &Session{
		srv:      srv,
		id:       cmp.Or(id, fmt.Sprintf("user-%017x", rand.Uint64())),
		node:     node,
		document: r.DocumentName,
		params:   r.Parameters,
		reason:   r.Reason,
		started:  srv.Now(),
		done:     make(chan struct{}),
		tokens:   make(map[string]bool),
	}
	s.agent = agent.New(s.job(d.sessionType, properties))
	s.up = newPipe(srv, s.atAgent, 0) // addSession sets the number
	s.up.hold = relayLimit
	s.down = newPipe(srv, s.fromAgent, 0)
	return s
}

// ID returns the session's SessionId.
func (s *Session) ID() string { return s.id }

// Target returns the node's id.
func (s *Session) Target() string { return s.node.ID }

// Document returns the name of the session's document.
func (s *Session) Document() string { return s.document }

// Parameters returns the parameters of StartSession.
func (s *Session) Parameters() map[string][]string { return maps.Clone(s.params) }

// Reason returns the reason given to StartSession.
func (s *Session) Reason() string { return s.reason }

// Region returns the session's region.
func (s *Session) Region() string { return s.node.Region }

// Started returns when the session started, by the service's clock.
func (s *Session) Started() time.Time { return s.started }

// EndedAt returns when the session ended, by the service's clock, or the zero
// time if it has not.
func (s *Session) EndedAt() time.Time {
	if end := s.endedAt.Load(); end != 0 {
		return time.Unix(0, end)
	}
	return time.Time{}
}

// State returns "Connected", or "Terminated" once the session has ended.
func (s *Session) State() string {
	if s.Ended() {
		return "Terminated"
	}
	return "Connected"
}

// Ended reports whether the session has ended, for whatever reason.
func (s *Session) Ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Done returns a channel that is closed when the session ends. (A Server's
// Close does not end sessions.)
func (s *Session) Done() <-chan struct{} { return s.done }

// Links returns how many data channels have been opened with an accepted token.
func (s *Session) Links() int { return int(s.links.Load()) }

// Resumes returns how often ResumeSession has been called for the session.
func (s *Session) Resumes() int { return int(s.resumes.Load()) }

// ClientVersion returns the version that the client last sent, or "".
func (s *Session) ClientVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// Size returns the size of the client's terminal as last set on the agent's
// terminal.
func (s *Session) Size() (cols, rows int) {
	size := s.size.Load()
	return int(size >> 16), int(size & 0xffff)
}

// Connections returns how many open connections to the port the agent has.
func (s *Session) Connections() int { return s.agent.Connections() }

// Dials returns how many connections to the port the agent has made.
func (s *Session) Dials() int64 { return s.agent.Dials() }

// BytesUp returns how many bytes the agent has written to the port, over all
// connections, or to the terminal.
func (s *Session) BytesUp() int64 { return s.agent.BytesUp() }

// BytesDown returns how many bytes the agent has read from the port, over all
// connections, or from the program.
func (s *Session) BytesDown() int64 { return s.agent.BytesDown() }

// End ends the session as the service does, with a reason for the user, which
// may be "": it sends channel_closed to the client, after everything that the
// service has already sent.
func (s *Session) End(reason string) {
	if !s.vanish() {
		return
	}
	s.srv.logf("%s: ended: %q", s.id, reason)
	if k := s.socket.Load(); k != nil {
		k.down.push(parcel{kind: service, data: s.serviceMessage(core.PausePublication, "")})
		k.down.push(parcel{kind: service, data: s.serviceMessage(core.ChannelClosed, reason)})
		k.down.push(parcel{kind: farewell})
	}
}

// vanish ends the session without telling the client. It returns false if it
// had already ended.
func (s *Session) vanish() bool {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	s.ended = true
	s.endedAt.Store(s.srv.Now().UnixNano())
	s.tokens = nil
	close(s.done)
	s.mu.Unlock()
	s.stopIdle()
	s.agent.Stop()
	return true
}

// serviceMessage returns a frame with a message of the service's own, which has
// the short header and repeats the header's contents as JSON.
func (s *Session) serviceMessage(t core.MessageType, output string) []byte {
	now := time.Now().UnixMilli()
	body := map[string]any{
		"CreatedDate":   strconv.FormatInt(now, 10),
		"DestinationId": s.node.ID,
		"MessageId":     wire.NewID().String(),
		"MessageType":   string(t),
		"SchemaVersion": 1,
		"SessionId":     s.id,
	}
	if t == core.ChannelClosed {
		body["Output"] = output
	}
	payload, err := json.Marshal(body) // sorts the keys, as the service does
	if err != nil {
		panic(err)
	}
	m := core.Message{
		Type: t, SchemaVersion: 1, Created: uint64(now), ID: wire.NewID(), Payload: payload, Short: true,
	}
	return wire.AppendFrame(nil, &m)
}

// grant returns the response of StartSession and ResumeSession: where to
// connect, and a token for one connection, which is empty if the session has
// ended.
func (s *Session) grant() *sessionResponse {
	var token string
	s.mu.Lock()
	if !s.ended {
		token = "client-" + strings.ReplaceAll(wire.NewID().String()+wire.NewID().String(), "-", "")
		s.tokens[token] = true
	}
	s.mu.Unlock()
	host := strings.TrimPrefix(s.srv.url, "http") // leaves "s://…" if https
	return &sessionResponse{
		SessionId: s.id,
		StreamUrl: "ws" + host + "/v1/data-channel/" + url.PathEscape(s.id) +
			"?role=publish_subscribe&cell-number=AAEBAexample%2Bcell%2F0%3D",
		TokenValue: &token,
	}
}

// Grant returns where a client connects to the session, and a token for one
// connection: "" if the session has ended.
func (s *Session) Grant() (streamURL, token string) {
	g := s.grant()
	return g.StreamUrl, *g.TokenValue
}

// openMessage is the first message on a data channel, the only text message.
type openMessage struct {
	MessageSchemaVersion string
	RequestId            string
	TokenValue           string
	ClientId             string
	ClientVersion        string
}

// attach makes k the client's socket if m has a valid token, and starts or
// resumes the agent.
func (s *Session) attach(k *socket, m openMessage) error {
	old, err := s.admit(k, m)
	if old != nil {
		old.cut(CutBye)
	}
	return err
}

// admit does what attach does, except closing the socket that k replaces.
func (s *Session) admit(k *socket, m openMessage) (old *socket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, errors.New("the session has ended")
	case k.over.Load():
		// k was cut while m arrived: its client may already be back with
		// another socket. If k is cut after this check, the cut detaches it.
		return nil, errors.New("the data channel has been cut")
	case m.MessageSchemaVersion != "1.0":
		return nil, fmt.Errorf("MessageSchemaVersion %q", m.MessageSchemaVersion)
	case m.RequestId == "" || m.ClientId == "":
		return nil, errors.New("no RequestId or no ClientId")
	case !s.tokens[m.TokenValue]:
		return nil, errors.New("the token is unknown or has been used")
	case s.clientID != "" && s.clientID != m.ClientId:
		return nil, errors.New("the ClientId has changed")
	}
	delete(s.tokens, m.TokenValue)
	s.clientID, s.version = m.ClientId, m.ClientVersion
	s.links.Add(1)
	old = s.socket.Swap(k)
	s.up.push(parcel{kind: linked})
	return old, nil
}

// detach tells the agent that k is gone, if k is the client's socket.
func (s *Session) detach(k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket.CompareAndSwap(k, nil) {
		s.up.push(parcel{kind: unlinked})
	}
}

// toAgent sends a batch of messages to the agent and replaces it with an empty
// one. It blocks while the relay, or the agent's inbox, is full.
func (s *Session) toAgent(batch *[]byte) {
	s.used()
	if !s.up.slow.Load() {
		s.agent.Deliver(batch)
		return
	}
	for m := range wire.Messages(*batch) {
		s.up.push(parcel{kind: frame, data: m})
	}
	*batch = (*batch)[:0]
}

// atAgent receives parcels from the path to the agent. It may be called with
// s.mu held.
func (s *Session) atAgent(p parcel) {
	switch p.kind {
	case linked:
		s.agent.Start()
	case unlinked:
		s.agent.Pause()
	default:
		one := wire.AppendMessage(nil, p.data)
		s.agent.Deliver(&one)
	}
}

// fromAgent receives parcels from the path from the agent. Frames go on to the
// client if there is a socket, and are lost if there is none.
func (s *Session) fromAgent(p parcel) {
	if p.kind == farewell {
		s.End(string(p.data))
		return
	}
	s.used()
	if k := s.socket.Load(); k != nil {
		k.down.pushFrames(p.data, p.limit)
	}
}
