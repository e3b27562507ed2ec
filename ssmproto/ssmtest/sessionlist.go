package ssmtest

import (
	"slices"
	"time"
)

type sessionsRequest struct {
	State      string
	Filters    []struct{ Key, Value string }
	MaxResults *int
	NextToken  string
}

type sessionsResponse struct {
	Sessions  []sessionInfo
	NextToken string `json:",omitempty"`
}

type sessionInfo struct {
	SessionId, Target, Status, DocumentName, Owner string
	StartDate                                      float64
	EndDate                                        float64 `json:",omitempty"`
	Reason                                         string  `json:",omitempty"`
	MaxSessionDuration                             string  `json:",omitempty"`
	AccessType                                     string
}

// sessionFields are what filters are about.
var sessionFields = map[string]func(*sessionInfo) string{
	"Target":    func(i *sessionInfo) string { return i.Target },
	"Owner":     func(i *sessionInfo) string { return i.Owner },
	"Status":    func(i *sessionInfo) string { return i.Status },
	"SessionId": func(i *sessionInfo) string { return i.SessionId },
}

// describeSessions lists the region's sessions, newest first.
func (s *Server) describeSessions(c *apiCall, r *sessionsRequest) (any, *APIError) {
	size := 50
	if r.MaxResults != nil {
		size = *r.MaxResults
	}
	switch {
	case size < 1:
		return nil, outOfRange(size, "greater", 1)
	case size > 200:
		return nil, outOfRange(size, "less", 200)
	case r.State != "Active" && r.State != "History":
		return nil, badRequest("ValidationException", "1 validation error detected: Value '%s' at 'state' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [Active, History]", r.State)
	}
	for _, f := range r.Filters {
		if sessionFields[f.Key] == nil {
			return nil, badRequest("InvalidFilterKey", "%s is not a valid filter key", f.Key)
		}
	}
	list := []sessionInfo{}
	for _, session := range slices.Backward(s.Sessions()) {
		info := session.info()
		if session.node.Region != c.region || session.Ended() != (r.State == "History") {
			continue
		}
		if !slices.ContainsFunc(r.Filters, func(f struct{ Key, Value string }) bool { return sessionFields[f.Key](&info) != f.Value }) {
			list = append(list, info)
		}
	}
	part, next, ok := page(list, size, r.NextToken, c.region, r.State, r.Filters)
	if !ok {
		return nil, badRequest("InvalidNextToken", "The specified token isn't valid.")
	}
	return sessionsResponse{part, next}, nil
}

func (s *Session) info() sessionInfo {
	i := sessionInfo{
		SessionId: s.id, Target: s.Target(), Status: s.State(), DocumentName: s.document, Owner: s.owner, StartDate: epoch(s.started),
		Reason: s.reason, MaxSessionDuration: s.srv.maxSessionDuration(), AccessType: "Standard",
	}
	if end := s.endedAt.Load(); end != 0 {
		i.EndDate = epoch(time.Unix(0, end))
	}
	return i
}

// PlantedSession is a session that nobody has started here, as somebody else's
// in the same account.
type PlantedSession struct {
	ID       string // "": made up
	Owner    string // an ARN; "" is another user's
	Target   string // a node's ID; there need not be such a node
	Document string // "" is SSM-SessionManagerRunShell
	Reason   string
	Started  time.Time // zero: now
}

// PlantSession adds a session. It is Connected until TerminateSession, or End,
// ends it.
func (s *Server) PlantSession(p PlantedSession) *Session {
	set := func(text *string, v string) {
		if *text == "" {
			*text = v
		}
	}
	set(&p.Owner, "arn:aws:iam::"+accountID+":user/somebody-else")
	set(&p.Document, preferences)
	s.mu.Lock()
	node := Node{ID: p.Target, Region: s.cfg.Region}
	if n := s.nodes[p.Target]; n != nil {
		node = *n
	}
	s.mu.Unlock()
	session := newSession(s, node, &sessionRequest{DocumentName: p.Document, Reason: p.Reason}, document{sessionType: "Standard_Stream"}, nil)
	session.owner = p.Owner
	set(&p.ID, session.id)
	session.id = p.ID
	if !p.Started.IsZero() {
		session.started = p.Started
	}
	s.mu.Lock()
	s.addSession(session)
	s.mu.Unlock()
	return session
}
