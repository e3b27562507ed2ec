package ssmtest

import (
	"errors"
	"net/http"
	"testing"
)

// TestAnotherPackageAnswersOperations: those it adds are checked, counted and
// made to fail like the Server's own, which it may replace.
func TestAnotherPackageAnswersOperations(t *testing.T) {
	s, _ := newServer(t, Config{})
	s.SetAPI(func(r *http.Request, body []byte, own *Operation) *Operation {
		switch r.Header.Get("X-Amz-Target") {
		case "AmazonSSM.Echo":
			return &Operation{Service: "ssm", Name: "Echo", Answer: func(region string) (any, *APIError) {
				return map[string]string{"Region": region, "Body": string(body)}, nil
			}}
		case "AmazonSSM.Other":
			return &Operation{Service: "ec2", Name: "Other", Refuse: func(err *APIError) *APIError { return badRequest("Refused", "%v", err) }}
		case "AmazonSSM.TerminateSession":
			answer := own.Answer
			own.Answer = func(region string) (any, *APIError) {
				if _, err := answer(region); err != nil {
					return nil, badRequest("Wrapped", "%v", err)
				}
				return nil, nil
			}
		}
		return own
	})
	refused := func(operation, code string) {
		t.Helper()
		var refusal *APIError
		if _, err := call(s, operation, map[string]string{"SessionId": "x"}); !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%s: %v, want %s", operation, err, code)
		}
	}
	answer, err := call(s, "Echo", map[string]string{"a": "b"})
	if err != nil || answer["Region"] != "us-east-1" || answer["Body"] != `{"a":"b"}` {
		t.Errorf("got %v, %v", answer, err)
	}
	refused("Other", "UnknownOperationException")
	refused("Nothing", "UnknownOperationException")
	refused("ResumeSession", "DoesNotExistException")
	refused("TerminateSession", "Wrapped")
	s.OnAPI(func(operation string) *APIError {
		if operation == "Echo" {
			return badRequest("Full", "")
		}
		return nil
	})
	refused("Echo", "Full")
	s.SetCredentials("another", "another", "")
	if s.Calls("Echo") != 2 || s.Calls("TerminateSession") != 1 || s.Calls("Other") != 0 {
		t.Errorf("%d, %d and %d calls", s.Calls("Echo"), s.Calls("TerminateSession"), s.Calls("Other"))
	}
}
