package awstest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// badRequest is the status of nearly all that AWS's services refuse.
func badRequest(code, format string, args ...any) *ssmtest.APIError {
	return refusal(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
}

func refusal(status int, code, message string) *ssmtest.APIError {
	return &ssmtest.APIError{Status: status, Code: code, Message: message}
}

// awsService is one of AWS's. One that names its operations in X-Amz-Target speaks
// AWS JSON 1.1; one that has a version takes forms and answers XML.
type awsService struct {
	name       string // what its requests are signed for; IAM's actions begin so
	target     string // the prefix of X-Amz-Target
	version    string
	operations map[string]operation
}

// operation answers a call. What it returns is encoded as the service does.
type operation func(*Server, *apiCall) (any, *ssmtest.APIError)

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

// parseCall finds out whose operation r calls, and returns nil if it is nobody's.
func parseCall(r *http.Request, body []byte) *apiCall {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		for _, v := range services {
			if name, ok := strings.CutPrefix(target, v.target+"."); ok && v.target != "" {
				return &apiCall{service: v, operation: name, body: body}
			}
		}
		return nil
	}
	if form, err := url.ParseQuery(string(body)); err == nil {
		for _, v := range services {
			if v.version != "" && v.version == form.Get("Version") {
				return &apiCall{service: v, operation: form.Get("Action"), body: body, form: form}
			}
		}
	}
	return nil
}

// operation finds what r calls, for [ssmtest.Server.SetAPI].
func (s *Server) operation(r *http.Request, body []byte, own *ssmtest.Operation) *ssmtest.Operation {
	c := parseCall(r, body)
	if c == nil {
		return own
	}
	operate, ok := c.service.operations[c.operation]
	switch {
	case own != nil:
		operate = sessionOperation(own.Answer)
	case !ok:
		operate = func(*Server, *apiCall) (any, *ssmtest.APIError) { return nil, c.service.unknown(c.operation) }
	}
	o := &ssmtest.Operation{
		Service: c.service.name,
		Name:    c.operation,
		Answer: func(region string) (any, *ssmtest.APIError) {
			c.region = region
			return operate(s, c)
		},
		Refuse: c.service.unauthenticated,
	}
	if c.form != nil {
		o.Write = func(w http.ResponseWriter, result any, refusal *ssmtest.APIError) {
			c.service.writeXML(w, c.operation, result, refusal)
		}
	}
	return o
}

// jsonOperation is an operation that reads its request from JSON. What it is
// about, for who may not, is found in the request.
func jsonOperation[T any](f func(*Server, *apiCall, *T) (any, *ssmtest.APIError)) operation {
	return func(s *Server, c *apiCall) (any, *ssmtest.APIError) {
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
