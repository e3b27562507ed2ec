package ssmtest

import (
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

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// idleReason is what a client is told of a session that timed out.
const idleReason = "Your session timed out due to inactivity."

// Session is one session of a Server's, from StartSession on. All methods may
// be called at any time and concurrently.
type Session struct {
	srv      *Server
	id       string
	node     Node
	document string
	params   map[string][]string
	reason   string
	agent    *agent
	done     chan struct{}

	links, resumes atomic.Int64

	// socket is the client's, nil while there is none. Written under mu, read
	// for every batch of messages.
	socket atomic.Pointer[socket]

	mu       sync.Mutex
	ended    bool
	tokens   map[string]bool // given out and not used
	clientID string          // of the first connection
	version  string          // the client's, as it said last
}

func newSession(srv *Server, node Node, r *apiRequest, d document, properties map[string]string) *Session {
	s := &Session{
		srv:      srv,
		id:       fmt.Sprintf("user-%017x", rand.Uint64()),
		node:     node,
		document: r.DocumentName,
		params:   r.Parameters,
		reason:   r.Reason,
		done:     make(chan struct{}),
		tokens:   make(map[string]bool),
	}
	cfg := srv.cfg.Agent
	if node.Agent != nil {
		cfg = *node.Agent
	}
	s.agent = newAgent(s, cfg.withDefaults(), d.sessionType, properties)
	return s
}

// ID is the session's SessionId.
func (s *Session) ID() string { return s.id }

// Target is the node's id.
func (s *Session) Target() string { return s.node.ID }

// Document is the name of the session's document.
func (s *Session) Document() string { return s.document }

// Parameters are those of StartSession.
func (s *Session) Parameters() map[string][]string { return maps.Clone(s.params) }

// Reason is the one given to StartSession.
func (s *Session) Reason() string { return s.reason }

// State is "Connected" until the session ends and "Terminated" then.
func (s *Session) State() string {
	if s.Ended() {
		return "Terminated"
	}
	return "Connected"
}

// Ended tells whether the session has ended, for whatever reason.
func (s *Session) Ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Done is closed when the session ends. (A Server's Close ends none.)
func (s *Session) Done() <-chan struct{} { return s.done }

// Links is how many data channels have been opened, their tokens accepted.
func (s *Session) Links() int { return int(s.links.Load()) }

// Resumes is how often ResumeSession has been answered.
func (s *Session) Resumes() int { return int(s.resumes.Load()) }

// ClientVersion is the version that the client last gave, "" before it has.
func (s *Session) ClientVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// BytesUp is how many bytes the agent has written to the port.
func (s *Session) BytesUp() int64 { return s.agent.up.Load() }

// BytesDown is how many bytes the agent has read from the port.
func (s *Session) BytesDown() int64 { return s.agent.down.Load() }

// End ends the session as the service does, with a reason for the user that
// may be "": channel_closed goes to the client, after all that is on its way.
func (s *Session) End(reason string) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	s.tokens = nil
	k := s.socket.Load()
	close(s.done)
	s.mu.Unlock()
	s.srv.logf("%s: ended: %q", s.id, reason)
	s.agent.stop()
	if k != nil {
		k.down.push(parcel{kind: service, data: s.serviceMessage(ssmproto.PausePublication, "")})
		k.down.push(parcel{kind: service, data: s.serviceMessage(ssmproto.ChannelClosed, reason)})
		k.down.push(parcel{kind: farewell})
	}
}

// serviceMessage is a frame with a message of the service's own, which has the
// short head and, in JSON, what the head says once more.
func (s *Session) serviceMessage(t ssmproto.MessageType, output string) []byte {
	now := time.Now().UnixMilli()
	body := map[string]any{
		"CreatedDate":   strconv.FormatInt(now, 10),
		"DestinationId": s.node.ID,
		"MessageId":     newID().String(),
		"MessageType":   string(t),
		"SchemaVersion": 1,
		"SessionId":     s.id,
	}
	if t == ssmproto.ChannelClosed {
		body["Output"] = output
	}
	payload, err := json.Marshal(body) // sorts the keys, as the service does
	if err != nil {
		panic(err)
	}
	m := ssmproto.Message{
		Type: t, SchemaVersion: 1, Created: uint64(now), ID: newID(), Payload: payload, Short: true,
	}
	return appendFrame(nil, &m)
}

// grant answers StartSession and ResumeSession: where to connect, and a token
// for one connection. A session that has ended gets an empty one.
func (s *Session) grant() *apiResponse {
	var token string
	s.mu.Lock()
	if !s.ended {
		token = "client-" + strings.ReplaceAll(newID().String()+newID().String(), "-", "")
		s.tokens[token] = true
	}
	s.mu.Unlock()
	host := strings.TrimPrefix(s.srv.url, "http") // leaves "s://…" of https
	return &apiResponse{
		SessionId: s.id,
		StreamUrl: "ws" + host + "/v1/data-channel/" + url.PathEscape(s.id) +
			"?role=publish_subscribe&cell-number=AAEBAexample%2Bcell%2F0%3D",
		TokenValue: &token,
	}
}

// openMessage is the first message on a data channel, the only one in text.
type openMessage struct {
	MessageSchemaVersion string
	RequestId            string
	TokenValue           string
	ClientId             string
	ClientVersion        string
}

// attach makes k the client's socket if m entitles it to that, and starts the
// agent, or lets it go on.
func (s *Session) attach(k *socket, m openMessage) error {
	old, err := s.admit(k, m)
	if old != nil {
		old.cut(CutBye)
	}
	return err
}

// admit is attach but for the closing of the socket that k replaces.
func (s *Session) admit(k *socket, m openMessage) (old *socket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, errors.New("the session has ended")
	case m.MessageSchemaVersion != "1.0":
		return nil, fmt.Errorf("MessageSchemaVersion %q", m.MessageSchemaVersion)
	case m.RequestId == "" || m.ClientId == "":
		return nil, errors.New("no RequestId or no ClientId")
	case !s.tokens[m.TokenValue]:
		return nil, errors.New("the token is unknown or used")
	case s.clientID != "" && s.clientID != m.ClientId:
		return nil, errors.New("the ClientId is another than before")
	}
	delete(s.tokens, m.TokenValue)
	s.clientID, s.version = m.ClientId, m.ClientVersion
	s.links.Add(1)
	old = s.socket.Swap(k)
	s.agent.start()
	return old, nil
}

// detach tells the agent that k, if it is the client's socket, is gone.
func (s *Session) detach(k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket.CompareAndSwap(k, nil) {
		s.agent.pause()
	}
}

// toClient sends frames to the client, if there is a socket, and loses them if
// there is none. It blocks while more than limit bytes wait for the client to
// read.
func (s *Session) toClient(frames []byte, limit int) {
	if k := s.socket.Load(); k != nil {
		k.down.pushFrames(frames, limit)
	}
}

// newID returns a random UUID. It is no secret: tokens here guard nothing.
func newID() (id ssmproto.UUID) {
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		id[i], id[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
