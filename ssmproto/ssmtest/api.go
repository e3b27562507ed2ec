package ssmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// APIError is an operation's refusal, answered in the form of its service.
type APIError struct {
	Status  int // HTTP's
	Code    string
	Message string
}

func (e *APIError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// badRequest is the status of nearly all that AWS's services refuse.
func badRequest(code, format string, args ...any) *APIError {
	return &APIError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// maxAPIBody is the largest request that is read, in bytes.
const maxAPIBody = 1 << 20

// Operation is what a request calls. The Server checks the signature, counts
// the call and asks what OnAPI has set; the rest is the operation's.
type Operation struct {
	Service string // what requests are signed for
	Name    string // for [Server.OnAPI] and [Server.Calls]

	// Answer does what the request asks for. The region is the one that the
	// request is signed for.
	Answer func(region string) (any, *APIError)

	// Refuse, if not nil, puts a refusal of the signature into the service's words.
	Refuse func(*APIError) *APIError

	// Write, if not nil, writes what Answer returned; nil is AWS JSON 1.1. The
	// header has X-Amzn-Requestid already.
	Write func(w http.ResponseWriter, result any, refusal *APIError)
}

// SetAPI lets another package answer more of AWS's API at the Server's address. find
// returns the operation that a request calls, or nil if there is none such. own
// is the Server's, or nil: find may return it, or another one in its place. It
// is called concurrently, before the signature is checked.
func (s *Server) SetAPI(find func(r *http.Request, body []byte, own *Operation) *Operation) {
	s.api.Store(&find)
}

// signedRegion is the region that r is signed for, if the server has it, and
// else the one that it should be signed for.
func (s *Server) signedRegion(r *http.Request) string {
	fields, _ := parseAuthorization(r.Header.Get("Authorization"))
	if scope := strings.Split(fields.credential, "/"); len(scope) == 5 && slices.Contains(s.regions, scope[2]) {
		return scope[2]
	}
	return s.cfg.Region
}

// operation finds what r calls, or nil.
func (s *Server) operation(r *http.Request, body []byte) *Operation {
	own := s.ownOperation(r.Header.Get("X-Amz-Target"), body)
	if find := s.api.Load(); find != nil {
		return (*find)(r, body, own)
	}
	return own
}

// ownOperation finds one of those that the data channel needs, or nil.
func (s *Server) ownOperation(target string, body []byte) *Operation {
	var do func(region string, r *sessionRequest) (any, *APIError)
	switch target {
	case "AmazonSSM.StartSession":
		do = s.startSession
	case "AmazonSSM.ResumeSession":
		do = s.resumeSession
	case "AmazonSSM.TerminateSession":
		do = s.terminateSession
	default:
		return nil
	}
	return &Operation{Service: "ssm", Name: strings.TrimPrefix(target, "AmazonSSM."), Answer: func(region string) (any, *APIError) {
		var request sessionRequest
		if err := json.Unmarshal(body, &request); err != nil {
			return nil, badRequest("SerializationException", "%v", err)
		}
		return do(region, &request)
	}}
}

// serveAPI answers POST /, which all calls of operations are.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
	if err != nil {
		return
	}
	o := s.operation(r, body)
	if o == nil {
		o = &Operation{}
	}
	result, refusal := s.answer(r, body, o)
	if refusal != nil {
		s.logf("%s: %v", o.Name, refusal)
	}
	w.Header().Set("Date", s.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amzn-Requestid", wire.NewID().String())
	if o.Write != nil {
		o.Write(w, result, refusal)
	} else {
		writeJSON(w, result, refusal)
	}
}

// answer does what r calls for: in the order of the real services, who calls,
// whether it is too often, and whether it is understood.
func (s *Server) answer(r *http.Request, body []byte, o *Operation) (any, *APIError) {
	if o.Answer == nil {
		return nil, badRequest("UnknownOperationException", "")
	}
	s.mu.Lock()
	s.calls[o.Name]++
	creds := s.creds
	s.mu.Unlock()
	region := s.signedRegion(r)
	if err := creds.verify(r, body, region, o.Service, s.Now()); err != nil {
		if o.Refuse != nil {
			err = o.Refuse(err)
		}
		return nil, err
	}
	if f := s.faults.onAPI.Load(); f != nil && *f != nil {
		if err := (*f)(o.Name); err != nil {
			return nil, err
		}
	}
	return o.Answer(region)
}

// writeJSON answers as AWS JSON 1.1 does.
func writeJSON(w http.ResponseWriter, result any, refusal *APIError) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if refusal != nil {
		w.Header().Set("X-Amzn-Errortype", refusal.Code)
		w.WriteHeader(refusal.Status)
		result = map[string]string{"__type": refusal.Code, "message": refusal.Message}
	}
	json.NewEncoder(w).Encode(result)
}
