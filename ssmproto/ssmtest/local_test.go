package ssmtest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// TestCredentialsAreOnesOwn: no two servers have the same, and none has those
// that AWS's documentation shows.
func TestCredentialsAreOnesOwn(t *testing.T) {
	seen := make(map[string]bool)
	for range 3 {
		s, _ := newServer(t, Config{})
		c := s.creds
		if len(c.accessKeyID) != 20 || len(c.secret) != 40 || seen[c.accessKeyID] || seen[c.secret] {
			t.Errorf("%+v", c)
		}
		seen[c.accessKeyID], seen[c.secret] = true, true
		if _, err := call(s, "ResumeSession", map[string]string{"SessionId": "x"}); err == nil || strings.Contains(err.Error(), "Unrecognized") {
			t.Errorf("with its own credentials: %v", err)
		}
		s.mu.Lock()
		s.creds = credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""}
		s.mu.Unlock()
		r, _ := http.NewRequest("POST", s.URL()+"/", strings.NewReader("{}"))
		r.Header.Set("X-Amz-Target", "AmazonSSM.ResumeSession")
		signFor(s, r, "", "ssm", s.Now())
		s.SetCredentials(c.accessKeyID, c.secret, "")
		if _, err := do(s, r); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
			t.Errorf("with AWS's example: %v", err)
		}
	}
	s, _ := newServer(t, Config{AccessKeyID: "AKIDMINE", SecretAccessKey: "mine"})
	if s.creds != (credentials{"AKIDMINE", "mine", ""}) {
		t.Errorf("%+v", s.creds)
	}
}

// TestBrowsersAreRefused: whatever they come for, and signed or not, so that a
// page is no way to the user's shell, not even one whose name was led here.
func TestBrowsersAreRefused(t *testing.T) {
	for _, tls := range []bool{false, true} {
		s, _ := newServer(t, Config{TLS: tls})
		_, port, _ := strings.Cut(strings.TrimPrefix(s.URL(), "http"), "127.0.0.1:")
		own := "127.0.0.1:" + port
		for _, tt := range []struct {
			host, origin string
			good         bool
		}{
			{own, "", true},
			{"localhost:" + port, "", true},
			{proxiedName + ":" + port, "", tls},
			{own, s.URL(), false},
			{own, "null", false},
			{own, "https://example.invalid", false},
			{"example.invalid:" + port, "", false},
			{"127.0.0.1.example.invalid:" + port, "", false},
			{"127.0.0.1:1", "", true},
			{"[::1]:1", "", true},
			{"10.1.2.3:" + port, "", false},
			{"0.0.0.0:" + port, "", false},
			{"localhost.:" + port, "", false},
			{"localhost.example.invalid:" + port, "", false},
		} {
			r, _ := http.NewRequest("POST", s.URL()+"/", strings.NewReader("{}"))
			r.Host = tt.host
			r.Header.Set("X-Amz-Target", "AmazonSSM.ResumeSession")
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			answer, err := (&http.Transport{DisableKeepAlives: true, TLSClientConfig: trusting(s)}).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if want := http.StatusForbidden; (answer.StatusCode != want) != tt.good {
				t.Errorf("TLS %v, the API for host %q, origin %q: %s", tls, tt.host, tt.origin, answer.Status)
			}

			started, err := call(s, "StartSession", map[string]string{"Target": nodeID, "DocumentName": "AWS-StartSSHSession"})
			if err != nil {
				t.Fatal(err)
			}
			r, _ = http.NewRequest("GET", strings.Replace(started["StreamUrl"], "ws", "http", 1), nil)
			r.Host = tt.host
			signFor(s, r, emptyHash, "ssmmessages", s.Now())
			r.Header.Set("Host", tt.host)
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			d := websocket.Dialer{TLSClientConfig: trusting(s)}
			ws, response, err := d.Dial(started["StreamUrl"], r.Header)
			if err == nil {
				ws.Close()
			}
			if (err == nil) != tt.good {
				t.Errorf("TLS %v, the data channel for host %q, origin %q: %v, %v", tls, tt.host, tt.origin, response, err)
			}
		}
	}
}
