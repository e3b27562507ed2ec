package ssmtest

import (
	"cmp"
	"net/http"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"
)

// sessionRequest has the members of the requests for a session.
type sessionRequest struct {
	Target       string
	DocumentName string
	Parameters   map[string][]string
	Reason       string
	SessionId    string // as the API spells it
}

type sessionResponse struct {
	SessionId  string  `json:"SessionId"`
	StreamUrl  string  `json:"StreamUrl,omitempty"`
	TokenValue *string `json:"TokenValue,omitempty"`
}

// errClosing is the response to calls while the server is closing.
var errClosing = &APIError{http.StatusServiceUnavailable, "InternalServerError", "the server is closing"}

func (s *Server) startSession(region string, r *sessionRequest) (any, *APIError) {
	if r.DocumentName == "" {
		r.DocumentName = preferences
	}
	node := s.connectedNode(r.Target, region)
	if node == nil {
		return nil, badRequest("TargetNotConnected", "%s is not connected.", r.Target)
	}
	document, ok := documents[r.DocumentName]
	if !ok {
		return nil, badRequest("InvalidDocument", "Document with name %s does not exist.", r.DocumentName)
	}
	properties, err := document.properties(r.Parameters)
	if err != nil {
		return nil, badRequest("InvalidParameters", "%v", err)
	}
	session := newSession(s, "", *node, r, document, properties)
	if !s.startNew(session) {
		return nil, errClosing
	}
	return session.grant(), nil
}

// startNew starts a session, unless the server is closing.
func (s *Server) startNew(session *Session) bool {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.addSession(session)
		session.startIdle()
	}
	s.mu.Unlock()
	if !closed {
		s.logf("%s: started, %s %v on %s", session.id, session.document, session.params, session.node.ID)
	}
	return !closed
}

func (s *Server) resumeSession(region string, r *sessionRequest) (any, *APIError) {
	session := s.session(r.SessionId)
	if session == nil || session.node.Region != region {
		return nil, noSuchSession(r.SessionId)
	}
	session.resumes.Add(1)
	return session.grant(), nil
}

func (s *Server) terminateSession(region string, r *sessionRequest) (any, *APIError) {
	session := s.session(r.SessionId)
	if session == nil || session.node.Region != region {
		return nil, noSuchSession(r.SessionId)
	}
	session.End("")
	return &sessionResponse{SessionId: session.id}, nil
}

func noSuchSession(id string) *APIError {
	return badRequest("DoesNotExistException", "Session %s does not exist.", id)
}

// addSession adds a session to s.sessions. s.mu is held.
func (s *Server) addSession(session *Session) {
	n := uint64(len(s.sessions))
	s.sessions = append(s.sessions, session)
	session.up.number, session.down.number = n<<1, n<<1|1
	session.up.setPath(s.agentPaths.up)
	session.down.setPath(s.agentPaths.down)
}

// PlantedSession is a session that is added without StartSession.
type PlantedSession struct {
	ID       string // "": a random one
	Target   string // a node's ID; the node need not exist
	Document string // "": SSM-SessionManagerRunShell
	Reason   string
	Started  time.Time // zero: now

	// Command is what the agent runs in a terminal once a client connects. ""
	// means a shell.
	Command string
}

// PlantSession adds a session. It is Connected until TerminateSession, End or
// Config.IdleTimeout ends it.
func (s *Server) PlantSession(p PlantedSession) *Session {
	s.mu.Lock()
	node := Node{ID: p.Target, Region: s.cfg.Region}
	if n := s.nodes[p.Target]; n != nil {
		node = *n
	}
	s.mu.Unlock()
	r := &sessionRequest{DocumentName: cmp.Or(p.Document, preferences), Reason: p.Reason}
	sessionType, properties := agent.ShellSession, map[string]string(nil)
	if p.Command != "" {
		r.Parameters = map[string][]string{"command": {p.Command}}
		sessionType, properties = agent.InteractiveSession, map[string]string{"command": p.Command}
	}
	session := newSession(s, p.ID, node, r, document{sessionType: sessionType}, properties)
	if !p.Started.IsZero() {
		session.started = p.Started
	}
	s.startNew(session)
	return session
}
