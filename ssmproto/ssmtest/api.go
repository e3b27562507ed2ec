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

// APIError is an error response of an operation, written in its service's
// format.
type APIError struct {
	Status  int // HTTP status
	Code    string
	Message string
}

func (e *APIError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// badRequest returns an APIError with the status that AWS's services use for
// nearly all errors.
func badRequest(code, format string, args ...any) *APIError {
	return &APIError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// maxAPIBody is the largest request that is read, in bytes.
const maxAPIBody = 1 << 20

// Operation is an API operation. The Server checks the signature of a request,
// counts the call and calls OnAPI's function; the Operation does the rest.
type Operation struct {
	Service string // the service that requests are signed for
	Name    string // for [Server.OnAPI] and [Server.Calls]

	// Answer performs the operation. The region is the one that the request is
	// signed for.
	Answer func(region string) (any, *APIError)

	// Refuse, if not nil, translates a signature error into the service's own.
	Refuse func(*APIError) *APIError

	// Write, if not nil, writes the result of Answer; nil means AWS JSON 1.1. The
	// header already has X-Amzn-Requestid.
	Write func(w http.ResponseWriter, result any, refusal *APIError)
}

// SetAPI lets another package implement more of AWS's API at the Server's
// address. find returns the operation that a request calls, or nil if there is
// none. own is the Server's own operation, or nil; find may return it, or
// another in its place. find is called concurrently, before the signature is
// checked.
func (s *Server) SetAPI(find func(r *http.Request, body []byte, own *Operation) *Operation) {
	s.api.Store(&find)
}

// signedRegion returns the region that r is signed for if the server has it,
// and otherwise the one that r should be signed for.
func (s *Server) signedRegion(r *http.Request) string {
	fields, _ := parseAuthorization(r.Header.Get("Authorization"))
	if scope := strings.Split(fields.credential, "/"); len(scope) == 5 && slices.Contains(s.regions, scope[2]) {
		return scope[2]
	}
	return s.cfg.Region
}

// operation returns the operation that r calls, or nil.
func (s *Server) operation(r *http.Request, body []byte) *Operation {
	own := s.ownOperation(r.Header.Get("X-Amz-Target"), body)
	if find := s.api.Load(); find != nil {
		return (*find)(r, body, own)
	}
	return own
}

// ownOperation returns one of the operations that the data channel needs, or
// nil.
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

// serveAPI serves POST /, the request of all operations.
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

// answer performs the operation that r calls. It checks, in the order of the
// real services, the signature, the rate and the arguments.
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

// writeJSON writes a response in AWS JSON 1.1.
func writeJSON(w http.ResponseWriter, result any, refusal *APIError) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if refusal != nil {
		w.Header().Set("X-Amzn-Errortype", refusal.Code)
		w.WriteHeader(refusal.Status)
		result = map[string]string{"__type": refusal.Code, "message": refusal.Message}
	}
	json.NewEncoder(w).Encode(result)
}
