package plugin

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/forward"
)

// TestPluginUnixSocket: a user may ask for a socket in the file system. It is the
// user's alone, and goes with the session.
func TestPluginUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	properties := map[string]string{"localConnectionType": "unix", "localUnixSocket": path}
	r := &pluginRequest{Parameters: map[string][]string{"localUnixSocket": {path}}}
	sockets, name, err := pluginSockets(r, func(name string) string { return properties[name] })
	if err != nil {
		t.Fatal(err)
	}
	if name != "Unix socket "+path || len(sockets) != 1 {
		t.Errorf("%q, %d sockets", name, len(sockets))
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	go func() {
		if c, err := net.Dial("unix", path); err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	c, err := sockets[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(c); string(text) != "hello" {
		t.Errorf("got %q", text)
	}
	c.Close()
	if _, _, err := pluginSockets(r, func(name string) string { return properties[name] }); !errors.Is(err, forward.ErrForward) {
		t.Errorf("a second one: %v", err)
	}
	sockets[0].Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

// TestPluginLocalEnd: what was asked for decides where we listen, not the agent.
func TestPluginLocalEnd(t *testing.T) {
	for _, tt := range []struct{ request, properties, want string }{
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"localPortNumber":["8080"]}}`, `{"localPortNumber":"8080"}`, "localhost:8080"},
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"localPortNumber":["8080"]}}`, `{}`, "localhost:8080"},
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"localPortNumber":["8080"]}}`, `{"localPortNumber":"5432"}`, ""},
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"localPortNumber":["0"]}}`, `{"localPortNumber":"5432"}`, ""},
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"portNumber":["80"]}}`, `{"localPortNumber":"0"}`, "localhost:0"},
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"portNumber":["80"]}}`, `{"localPortNumber":"5432"}`, ""},
		{`{"DocumentName":"AWS-StartPortForwardingSession"}`, `{"localPortNumber":"5432"}`, ""},
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"localPortNumber":["x"]}}`, `{"localPortNumber":"5432"}`, ""},
		{`{"DocumentName":"AWS-StartPortForwardingSession","Parameters":{"localPortNumber":["1","2"]}}`, `{"localPortNumber":"1"}`, ""},
		{`{"DocumentName":"AWS-StartSSHSession","Parameters":{"portNumber":["22"]}}`, `{"localPortNumber":"0"}`, ""},
		{`{"DocumentName":"Mine"}`, `{"localPortNumber":"5432"}`, "localhost:5432"},
		{`{"DocumentName":"Mine"}`, `{"localPortNumber":"22"}`, ""},
		{`{"DocumentName":"Mine"}`, `{"localPortNumber":"evil.example:80"}`, ""},
		{`{"DocumentName":"Mine"}`, `{"localConnectionType":"unix","localUnixSocket":"/tmp/agent"}`, ""},
		{`{"DocumentName":"Mine","Parameters":{"localUnixSocket":["/tmp/mine"]}}`, `{"localConnectionType":"unix","localUnixSocket":"/tmp/agent"}`, ""},
		{`{"DocumentName":"Mine","Parameters":{"localUnixSocket":["/tmp/mine"]}}`, `{"localConnectionType":"unix","localUnixSocket":"/tmp/mine"}`, "/tmp/mine"},
		{`{"DocumentName":"Mine","Parameters":{"localConnectionType":["unix"],"localUnixSocket":["/tmp/mine"]}}`, `{}`, ""},
		{``, `{"localPortNumber":"8080"}`, "localhost:8080"},
		{``, `{}`, "localhost:0"},
		{`"not the request"`, `{"localConnectionType":"unix","localUnixSocket":"/tmp/agent"}`, ""},
		{`{"Parameters":7}`, `{"localPortNumber":"80"}`, ""},
	} {
		var r pluginRequest
		r.read(tt.request)
		var properties map[string]string
		if err := json.Unmarshal([]byte(tt.properties), &properties); err != nil {
			t.Fatal(err)
		}
		got, err := r.local(func(name string) string { return properties[name] })
		if got.Listen != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s, %s: %q, %v; want %q", tt.request, tt.properties, got.Listen, err, tt.want)
		}
	}
}

func TestParsePluginCall(t *testing.T) {
	response := `{"sessionId": "s", "streamUrl": "wss://h", "tokenValue": "t"}`
	for _, c := range []struct{ profile, endpoint, wantProfile, wantEndpoint string }{
		{"", "", "", ""},
		{"work", "https://ssm.eu-west-1.amazonaws.com", "work", "https://ssm.eu-west-1.amazonaws.com"},
		{"environment", "https://ecs.eu-west-1.amazonaws.com", "", ""},
		{"", "https://vpce-0.ecs.eu-west-1.vpce.amazonaws.com/", "", ""},
		{"", "https://ecs-fips.us-east-1.amazonaws.com", "", ""},
		{"", "http://127.0.0.1:4566", "", "http://127.0.0.1:4566"},
		{"", "not a URL", "", ""},
	} {
		t.Setenv("AWS_PROFILE", "environment")
		args := []string{response, "eu-west-1", "StartSession", c.profile, `{"Target": "i-1", "DocumentName": "d", "Parameters": {"a": "b"}}`, c.endpoint}
		call, err := parsePluginCall(args)
		if err != nil {
			t.Fatal(err)
		}
		if call.profile != c.wantProfile || call.endpoint != c.wantEndpoint || call.session.TokenValue != "t" ||
			call.request.Target != "i-1" || call.request.DocumentName != "d" || call.region != "eu-west-1" {
			t.Errorf("%q, %q: %+v", c.profile, c.endpoint, call)
		}
		// What is passed in a variable is not seen by what we start, and there a
		// profile is one that the user has named.
		t.Setenv("AWS_SSM_START_SESSION_RESPONSE", response)
		args[0] = "AWS_SSM_START_SESSION_RESPONSE"
		call, err = parsePluginCall(args)
		if _, set := os.LookupEnv(args[0]); err != nil || call.profile != c.profile || set {
			t.Errorf("%q: %+v, %v, still set: %v", c.profile, call, err, set)
		}
	}
	if call, err := parsePluginCall([]string{response, "eu-west-1", "StartSession"}); err != nil || call.request.Target != "" {
		t.Errorf("three arguments: %+v, %v", call, err)
	}
}
