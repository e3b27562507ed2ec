package ssmtest

import (
	"slices"
	"time"
)

// sessionRequest holds the members of the operations on one session.
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

func (s *Server) startSession(c *apiCall, r *sessionRequest) (any, *APIError) {
	if r.DocumentName == "" {
		r.DocumentName = preferences
	}
	if denied := s.faults.denied.Load(); denied != nil && slices.Contains(*denied, r.DocumentName) {
		return nil, c.service.unauthorized(c.action(), "arn:aws:ssm:"+c.region+"::document/"+r.DocumentName)
	}
	node := s.connectedNode(r.Target, c.region)
	if node != nil && time.Since(node.started) < node.BootTime+node.AgentTime+node.SessionTime {
		node = nil
	}
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
	session := newSession(s, *node, r, document, properties)
	if !s.startNew(session) {
		return nil, errClosing
	}
	return session.grant(), nil
}

// startNew lets a session begin, unless the server is closing.
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

func (s *Server) resumeSession(c *apiCall, r *sessionRequest) (any, *APIError) {
	session := s.session(r.SessionId)
	if session == nil || session.node.Region != c.region {
		return nil, noSuchSession(r.SessionId)
	}
	session.resumes.Add(1)
	return session.grant(), nil
}

func (s *Server) terminateSession(c *apiCall, r *sessionRequest) (any, *APIError) {
	session := s.session(r.SessionId)
	if session == nil || session.node.Region != c.region {
		return nil, noSuchSession(r.SessionId)
	}
	session.End("")
	return &sessionResponse{SessionId: session.id}, nil
}

func noSuchSession(id string) *APIError {
	return badRequest("DoesNotExistException", "Session %s does not exist.", id)
}

// addSession puts a session on the list. s.mu is held.
func (s *Server) addSession(session *Session) {
	n := uint64(len(s.sessions))
	s.sessions = append(s.sessions, session)
	session.up.number, session.down.number = n<<1, n<<1|1
	session.up.setPath(s.agentPaths.up)
	session.down.setPath(s.agentPaths.down)
}
