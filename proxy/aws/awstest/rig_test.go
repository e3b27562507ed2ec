package awstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	static "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
)

// wait is how long anything that must happen may take.
const wait = 10 * time.Second

// credentials are those that s accepts, as a process gets them.
func credentials(s *Server) (c aws.Credentials) {
	for _, v := range s.Env() {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			c.AccessKeyID = value
		case "AWS_SECRET_ACCESS_KEY":
			c.SecretAccessKey = value
		case "AWS_SESSION_TOKEN":
			c.SessionToken = value
		}
	}
	return c
}

// sdk is how the SDK is set up to call s, once a call: it does not try again.
func sdk(s *Server, region string) aws.Config {
	c := credentials(s)
	return aws.Config{
		Region:           region,
		BaseEndpoint:     aws.String(s.URL()),
		Credentials:      static.StaticCredentialsProvider{Value: c},
		HTTPClient:       &http.Client{Transport: whole{s.Transport()}},
		RetryMaxAttempts: 1,
	}
}

// whole sends requests in one piece. As the SDK hands them over, net/http looks
// for more of the body after it has sent all; smithy-go 1.28 closes the body
// when the answer begins, and if that is sooner, as it may be within one
// machine, the connection is dropped before the answer has been read.
type whole struct{ http.RoundTripper }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return w.RoundTripper.RoundTrip(r)
}

// refused checks that err is the API's, with a code and, unless 0, a status.
func refused(t *testing.T, what string, err error, code string, status int) string {
	t.Helper()
	api := smithy.APIError(nil)
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
		return ""
	}
	response := (*awshttp.ResponseError)(nil)
	if status != 0 && (!errors.As(err, &response) || response.HTTPStatusCode() != status) {
		t.Errorf("%s: %v, want HTTP status %d", what, err, status)
	}
	return api.ErrorMessage()
}

// nodeServer starts a server with some nodes.
func nodeServer(t *testing.T, cfg Config, nodes ...Node) *Server {
	t.Helper()
	s := NewServer(cfg)
	t.Cleanup(s.Close)
	for _, n := range nodes {
		s.AddNode(n)
	}
	return s
}

// id is the i-th instance's.
func id(i int) string { return fmt.Sprintf("i-%017x", i) }

// eventually waits for a condition that nothing signals.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", wait, what)
		}
	}
}
