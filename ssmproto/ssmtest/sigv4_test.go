package ssmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func TestSignaturesOfTheSDKAreVerified(t *testing.T) {
	const body = `{"Target":"i-0123456789abcdef0"}`
	now := time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC)
	creds := credentials{"AKIAIOSFODNN7EXAMPLE", "secret", ""}
	temporary := credentials{"ASIAIOSFODNN7EXAMPLE", "secret", "token/with+signs=="}
	const other = "UnrecognizedClientException"
	const invalid = "InvalidSignatureException"
	for _, test := range []struct {
		name    string
		creds   credentials // the server's
		signer  credentials // the client's, if not the same
		url     string
		service string
		region  string
		at      time.Time
		change  func(r *http.Request) // after signing
		code    string                // "" is accepted
	}{
		{name: "good"},
		{name: "good with a session token", creds: temporary},
		{name: "good with a query and a path to escape", url: "http://127.0.0.1:80/v1/data-channel/user-a%40b%20c?role=publish_subscribe&cell-number=A%2BB%2F%3D+x&a"},
		{name: "good at the edge of the clock", at: now.Add(-maxSkew)},
		{name: "unsigned", change: func(r *http.Request) { r.Header.Del("Authorization") }, code: "MissingAuthenticationTokenException"},
		{name: "garbled", change: func(r *http.Request) { r.Header.Set("Authorization", sigAlgorithm+" x") }, code: "IncompleteSignatureException"},
		{name: "no date", change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }, code: invalid},
		{name: "too old", at: now.Add(-maxSkew - time.Second), code: invalid},
		{name: "too early", at: now.Add(maxSkew + time.Second), code: invalid},
		{name: "for another service", service: "ec2", code: invalid},
		{name: "for another region", region: "eu-west-1", code: invalid},
		{name: "with another secret", signer: credentials{creds.accessKeyID, "other", ""}, code: invalid},
		{name: "with another key", signer: credentials{"AKIDOTHER", creds.secret, ""}, code: other},
		{name: "without the session token", creds: temporary, signer: credentials{temporary.accessKeyID, temporary.secret, ""}, code: other},
		{name: "with a session token too many", signer: credentials{creds.accessKeyID, creds.secret, "token"}, code: other},
		{name: "session token not signed", creds: credentials{creds.accessKeyID, creds.secret, "token"}, signer: creds,
			change: func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "token") }, code: invalid},
		{name: "another host", change: func(r *http.Request) { r.Host = "elsewhere" }, code: invalid},
		{name: "another path", change: func(r *http.Request) { r.URL.Path = "/x" }, code: invalid},
		{name: "another query", change: func(r *http.Request) { r.URL.RawQuery = "x=1" }, code: invalid},
		{name: "another method", change: func(r *http.Request) { r.Method = "PUT" }, code: invalid},
		{name: "a signed header changed", change: func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") }, code: invalid},
		{name: "host not among the signed headers", change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}, code: invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			orElse := func(v, d string) string {
				if v == "" {
					return d
				}
				return v
			}
			if test.creds == (credentials{}) {
				test.creds = creds
			}
			if test.signer == (credentials{}) {
				test.signer = test.creds
			}
			if test.at.IsZero() {
				test.at = now
			}
			r, err := http.NewRequest("POST", orElse(test.url, "http://127.0.0.1:80/"), bytes.NewReader([]byte(body)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Amz-Target", "AmazonSSM.StartSession")
			sum := sha256.Sum256([]byte(body))
			err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{
				AccessKeyID: test.signer.accessKeyID, SecretAccessKey: test.signer.secret, SessionToken: test.signer.token,
			}, r, hex.EncodeToString(sum[:]), orElse(test.service, "ssm"), orElse(test.region, "us-east-1"), test.at)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = orElse(r.Host, r.URL.Host) // as a server sees it
			if test.change != nil {
				test.change(r)
			}
			refused := test.creds.verify(r, []byte(body), "us-east-1", "ssm", now)
			switch {
			case refused == nil && test.code != "":
				t.Errorf("accepted, want %s", test.code)
			case refused != nil && refused.Code != test.code:
				t.Errorf("got %v, want %q", refused, test.code)
			}
			if test.code == "" && test.creds.verify(r, []byte(body+" "), "us-east-1", "ssm", now) == nil {
				t.Error("accepted with another body")
			}
		})
	}
}

func TestUnsignedRequestsAreRefused(t *testing.T) {
	s, _ := newServer(t, Config{SessionToken: "a session token"})
	r, _ := http.NewRequest("POST", s.URL(), strings.NewReader("{}"))
	r.Header.Set("X-Amz-Target", "AmazonSSM.StartSession")
	_, err := do(s, r)
	if e := (*APIError)(nil); !errors.As(err, &e) || e.Status != 400 || e.Code != "MissingAuthenticationTokenException" {
		t.Errorf("an unsigned call: %v", err)
	}
	start(t, s) // a signed upgrade is let in
	answer, err := call(s, "StartSession", map[string]string{"Target": nodeID, "DocumentName": "AWS-StartSSHSession"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(s, answer["StreamUrl"], false); err == nil || !strings.HasSuffix(err.Error(), ": 403") {
		t.Errorf("an unsigned upgrade: %v", err)
	}
	s.SetCredentials("AKIDNEW", "new", "")
	if _, err := call(s, "ResumeSession", map[string]string{"SessionId": answer["SessionId"]}); err != nil {
		t.Errorf("after SetCredentials: %v", err)
	}
}

func TestNoSignatureCheckLetsUnsignedUpgradesIn(t *testing.T) {
	s, _ := newServer(t, Config{NoSignatureCheck: true})
	answer, err := call(s, "StartSession", map[string]string{"Target": nodeID, "DocumentName": "AWS-StartSSHSession"})
	if err != nil {
		t.Fatal(err)
	}
	ws, err := dial(s, answer["StreamUrl"], false)
	if err != nil {
		t.Fatal(err)
	}
	ws.Close()
}
