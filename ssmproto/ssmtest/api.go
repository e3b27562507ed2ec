package ssmtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The account that everything is in, and who calls.
const (
	accountID = "123456789012"
	callerARN = "arn:aws:iam::" + accountID + ":user/example"
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

// awsService is one of AWS's. One that names its operations in X-Amz-Target speaks
// AWS JSON 1.1; one that has a version takes forms and answers XML.
type awsService struct {
	name       string // what its requests are signed for; IAM's actions begin so
	target     string // the prefix of X-Amz-Target
	version    string
	operations map[string]operation
}

// operation answers a call. What it returns is encoded as the service does.
type operation func(*Server, *apiCall) (any, *APIError)

// services are all that a Server is. No two operations have the same name.
var services = []*awsService{ssmService, ec2Service, connectService, ecsService, kmsService, stsService}

// apiCall is a call of an operation.
type apiCall struct {
	service   *awsService
	operation string
	region    string
	body      []byte
	form      url.Values // the body of a service with forms
}

// action is what IAM calls the operation.
func (c *apiCall) action() string { return c.service.name + ":" + c.operation }

// signedRegion is the region that r is signed for, if the server has it, and
// else the one that it should be signed for.
func (s *Server) signedRegion(r *http.Request) string {
	fields, _ := parseAuthorization(r.Header.Get("Authorization"))
	if scope := strings.Split(fields.credential, "/"); len(scope) == 5 && slices.Contains(s.regions, scope[2]) {
		return scope[2]
	}
	return s.cfg.Region
}

// parseCall finds out whose operation r calls.
func (s *Server) parseCall(r *http.Request, body []byte) *apiCall {
	c := &apiCall{body: body, region: s.signedRegion(r)}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		for _, v := range services {
			if name, ok := strings.CutPrefix(target, v.target+"."); ok && v.target != "" {
				c.service, c.operation = v, name
				return c
			}
		}
		return c
	}
	if form, err := url.ParseQuery(string(body)); err == nil {
		for _, v := range services {
			if v.version != "" && v.version == form.Get("Version") {
				c.service, c.operation, c.form = v, form.Get("Action"), form
				return c
			}
		}
	}
	return c
}

// serveAPI answers POST /, which all services' calls are.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
	if err != nil {
		return
	}
	c := s.parseCall(r, body)
	result, refusal := s.answer(r, c)
	if refusal != nil {
		s.logf("%s: %v", c.operation, refusal)
	}
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amzn-Requestid", newID().String())
	if c.form != nil {
		c.service.writeXML(w, c.operation, result, refusal)
	} else {
		writeJSON(w, result, refusal)
	}
}

// answer does what r calls for: in the order of the real services, who calls,
// whether it is too often, whether it is understood, and whether it is allowed.
func (s *Server) answer(r *http.Request, c *apiCall) (any, *APIError) {
	if c.service == nil {
		return nil, badRequest("UnknownOperationException", "")
	}
	s.mu.Lock()
	s.calls[c.operation]++
	creds := s.creds
	s.mu.Unlock()
	if err := creds.verify(r, c.body, c.region, c.service.name, s.now()); err != nil {
		return nil, c.service.unauthenticated(err)
	}
	operate, ok := c.service.operations[c.operation]
	if !ok {
		return nil, c.service.unknown(c.operation)
	}
	if f := s.faults.onAPI.Load(); f != nil && *f != nil {
		if err := (*f)(c.operation); err != nil {
			return nil, err
		}
	}
	return operate(s, c)
}

// allowed returns the refusal of what [Server.DenyActions] forbids. The
// resource is what the call is about, of any form.
func (s *Server) allowed(c *apiCall, resource string) *APIError {
	denied := s.faults.actions.Load()
	if denied == nil || !slices.Contains(*denied, c.action()) {
		return nil
	}
	return c.service.unauthorized(c.action(), resource)
}

// jsonOperation is an operation that reads its request from JSON. What it is
// about, for who may not, is found in the request.
func jsonOperation[T any](f func(*Server, *apiCall, *T) (any, *APIError)) operation {
	return func(s *Server, c *apiCall) (any, *APIError) {
		var request T
		if err := json.Unmarshal(c.body, &request); err != nil {
			return nil, badRequest("SerializationException", "%v", err)
		}
		if err := s.allowed(c, c.resource()); err != nil {
			return nil, err
		}
		return f(s, c, &request)
	}
}

// resource is the ARN of what a call in JSON is about.
func (c *apiCall) resource() string {
	var r struct{ Target, InstanceId, Name, SessionId, DocumentName, KeyId, Cluster, Task string }
	json.Unmarshal(c.body, &r)
	id := r.Target + r.InstanceId
	ssm := fmt.Sprintf("arn:aws:ssm:%s:%s:", c.region, accountID)
	switch {
	case managed(id):
		return ssm + "managed-instance/" + id
	case strings.HasPrefix(id, "i-"):
		return fmt.Sprintf("arn:aws:ec2:%s:%s:instance/%s", c.region, accountID, id)
	case r.Task != "" && !strings.HasPrefix(r.Task, "arn:"):
		return (&Task{Region: c.region, Cluster: cmp.Or(r.Cluster, "default"), ID: r.Task}).ARN()
	case r.Task != "":
		return r.Task
	case r.KeyId != "":
		return keyARN(c.region, r.KeyId)
	case r.SessionId != "":
		return ssm + "session/" + r.SessionId
	case r.Name != "":
		return ssm + "document/" + r.Name
	case r.DocumentName != "":
		return fmt.Sprintf("arn:aws:ssm:%s::document/%s", c.region, r.DocumentName)
	default:
		return fmt.Sprintf("arn:aws:%s:%s:%s:*", c.service.name, c.region, accountID)
	}
}
