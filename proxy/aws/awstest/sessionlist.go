package awstest

import (
	"cmp"
	"slices"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
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
func (s *Server) describeSessions(c *apiCall, r *sessionsRequest) (any, *ssmtest.APIError) {
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
		info := s.sessionInfo(session)
		if session.Region() != c.region || session.Ended() != (r.State == "History") {
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

func (s *Server) sessionInfo(session *ssmtest.Session) sessionInfo {
	s.mu.Lock()
	owner := cmp.Or(s.owners[session.ID()], callerARN)
	s.mu.Unlock()
	i := sessionInfo{
		SessionId: session.ID(), Target: session.Target(), Status: session.State(), DocumentName: session.Document(), Owner: owner,
		StartDate: epoch(session.Started()), Reason: session.Reason(), MaxSessionDuration: s.inputs().MaxSessionDuration, AccessType: "Standard",
	}
	if end := session.EndedAt(); !end.IsZero() {
		i.EndDate = epoch(end)
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

// PlantSession adds a session, as [ssmtest.Server.PlantSession] does.
func (s *Server) PlantSession(p PlantedSession) *ssmtest.Session {
	s.mu.Lock() // nobody asks whose it is before that is known
	defer s.mu.Unlock()
	session := s.Server.PlantSession(ssmtest.PlantedSession{
		ID: p.ID, Target: p.Target, Document: p.Document, Reason: p.Reason, Started: p.Started,
	})
	s.owners[session.ID()] = cmp.Or(p.Owner, "arn:aws:iam::"+accountID+":user/somebody-else")
	return session
}
