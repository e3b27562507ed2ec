package ssmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// APIError is an operation's refusal, answered in the form of AWS JSON 1.1.
type APIError struct {
	Status  int // HTTP's
	Code    string
	Message string
}

func (e *APIError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// maxAPIBody is the largest request that is read, in bytes.
const maxAPIBody = 1 << 20

// apiRequest holds the members of all operations here.
type apiRequest struct {
	Target       string
	DocumentName string
	Parameters   map[string][]string
	Reason       string
	SessionId    string // as the API spells it
}

type apiResponse struct {
	SessionId  string  `json:"SessionId"`
	StreamUrl  string  `json:"StreamUrl,omitempty"`
	TokenValue *string `json:"TokenValue,omitempty"`
}

// serveAPI answers POST /: the operation is named by a header.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
	if err != nil {
		return
	}
	response, apiErr := s.call(r, body)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", newID().String())
	if apiErr != nil {
		s.logf("%s: %v", r.Header.Get("X-Amz-Target"), apiErr)
		w.Header().Set("X-Amzn-Errortype", apiErr.Code)
		w.WriteHeader(apiErr.Status)
		json.NewEncoder(w).Encode(map[string]string{"__type": apiErr.Code, "message": apiErr.Message})
		return
	}
	json.NewEncoder(w).Encode(response)
}

func (s *Server) call(r *http.Request, body []byte) (*apiResponse, *APIError) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM.")
	if !ok {
		return nil, badRequest("UnknownOperationException", "")
	}
	s.mu.Lock()
	s.calls[operation]++
	creds := s.creds
	s.mu.Unlock()
	if err := creds.verify(r, body, s.cfg.Region, "ssm", time.Now()); err != nil {
		return nil, err
	}
	var operate func(*apiRequest) (*apiResponse, *APIError)
	switch operation {
	case "StartSession":
		operate = s.startSession
	case "ResumeSession":
		operate = s.resumeSession
	case "TerminateSession":
		operate = s.terminateSession
	default:
		return nil, badRequest("UnknownOperationException", "")
	}
	if f := s.faults.onAPI.Load(); f != nil && *f != nil {
		if err := (*f)(operation); err != nil {
			return nil, err
		}
	}
	var request apiRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, badRequest("SerializationException", "%v", err)
	}
	return operate(&request)
}

// badRequest is the status of nearly all that AWS's JSON services refuse.
func badRequest(code, format string, args ...any) *APIError {
	return &APIError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

func (s *Server) startSession(r *apiRequest) (*apiResponse, *APIError) {
	if r.DocumentName == "" {
		r.DocumentName = "SSM-SessionManagerRunShell"
	}
	if denied := s.faults.denied.Load(); denied != nil && slices.Contains(*denied, r.DocumentName) {
		return nil, badRequest("AccessDeniedException", "User: arn:aws:iam::123456789012:user/example is not authorized to perform: "+
			"ssm:StartSession on resource: arn:aws:ssm:%s::document/%s because no identity-based policy allows the ssm:StartSession action",
			s.cfg.Region, r.DocumentName)
	}
	s.mu.Lock()
	node, ok := s.nodes[r.Target]
	ok = ok && !s.away[r.Target]
	s.mu.Unlock()
	if !ok || node.NotConnected {
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
	session := newSession(s, node, r, document, properties)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		n := uint64(len(s.sessions))
		s.sessions = append(s.sessions, session)
		session.up.number, session.down.number = n<<1, n<<1|1
		session.up.setPath(s.agentPaths.up)
		session.down.setPath(s.agentPaths.down)
		session.startIdle()
	}
	s.mu.Unlock()
	if closed {
		return nil, &APIError{http.StatusServiceUnavailable, "InternalServerError", "the server is closing"}
	}
	s.logf("%s: started, %s %v on %s", session.id, r.DocumentName, r.Parameters, r.Target)
	return session.grant(), nil
}

func (s *Server) resumeSession(r *apiRequest) (*apiResponse, *APIError) {
	session := s.session(r.SessionId)
	if session == nil {
		return nil, noSuchSession(r.SessionId)
	}
	session.resumes.Add(1)
	return session.grant(), nil
}

func (s *Server) terminateSession(r *apiRequest) (*apiResponse, *APIError) {
	session := s.session(r.SessionId)
	if session == nil {
		return nil, noSuchSession(r.SessionId)
	}
	session.End("")
	return &apiResponse{SessionId: session.id}, nil
}

func noSuchSession(id string) *APIError {
	return badRequest("DoesNotExistException", "Session %s does not exist.", id)
}
