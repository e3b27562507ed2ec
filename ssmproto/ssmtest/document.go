package ssmtest

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/agent"
)

// document is a Session document: it turns the parameters of StartSession into
// instructions for the agent.
type document struct {
	// sessionType is the type that the agent names in its handshake.
	sessionType string

	// defaults has all parameters with their default values.
	defaults map[string]string

	// required names the parameters that must be given.
	required []string

	// fixed are properties that do not come from a parameter.
	fixed map[string]string
}

// preferences is the document of a shell: an account's preferences.
const preferences = "SSM-SessionManagerRunShell"

// documents are the documents of AWS's that these agents know.
var documents = map[string]document{
	"AWS-StartSSHSession": {
		sessionType: agent.PortSession,
		defaults:    map[string]string{"portNumber": "22"},
	},
	"AWS-StartPortForwardingSession": {
		sessionType: agent.PortSession,
		defaults:    map[string]string{"portNumber": "80", "localPortNumber": "0"},
		fixed:       map[string]string{"type": agent.LocalPortForwarding},
	},
	"AWS-StartPortForwardingSessionToRemoteHost": {
		sessionType: agent.PortSession,
		defaults:    map[string]string{"portNumber": "80", "localPortNumber": "0", "host": "localhost"},
		fixed:       map[string]string{"type": agent.LocalPortForwarding},
	},
	preferences: {sessionType: agent.ShellSession},
	"AWS-StartInteractiveCommand": {
		sessionType: agent.InteractiveSession,
		defaults:    map[string]string{"command": ""},
		required:    []string{"command"},
	},
	"AWS-StartNonInteractiveCommand": {
		sessionType: agent.NonInteractiveSession,
		defaults: map[string]string{
			"command": "", "separateOutputStream": "false", "stdoutSeparatorPrefix": "", "stderrSeparatorPrefix": "",
		},
		required: []string{"command"},
	},
}

// separatorPrefix matches the prefixes of output that the document allows.
var separatorPrefix = regexp.MustCompile(`^[0-9a-zA-Z\r\n_:-]{0,30}$`)

// badInHost are the characters that AWS's document does not allow in a host,
// and white space.
const badInHost = ",$^&()!;'\"<>`{}[]|#= \t\r\n"

// properties returns the handshake's Properties. Every value in parameters must
// be a list of one string.
func (d document) properties(parameters map[string][]string) (map[string]string, error) {
	p := make(map[string]string)
	maps.Copy(p, d.defaults)
	maps.Copy(p, d.fixed)
	for _, name := range d.required {
		if _, ok := parameters[name]; !ok {
			return nil, fmt.Errorf("parameter %q is missing", name)
		}
	}
	for name, values := range parameters {
		if _, ok := d.defaults[name]; !ok {
			return nil, fmt.Errorf("parameter %q is not one of the document's", name)
		}
		if len(values) != 1 {
			return nil, fmt.Errorf("parameter %q has %d values, not 1", name, len(values))
		}
		p[name] = values[0]
	}
	if d.sessionType == agent.PortSession {
		if port, err := strconv.ParseUint(p["portNumber"], 10, 16); err != nil || port == 0 {
			return nil, fmt.Errorf("portNumber %q is not a port", p["portNumber"])
		}
	}
	if local, ok := p["localPortNumber"]; ok { // 0: the client chooses
		if _, err := strconv.ParseUint(local, 10, 16); err != nil {
			return nil, fmt.Errorf("localPortNumber %q is not a port", local)
		}
	}
	if host, ok := p["host"]; ok && (len(host) < 3 || strings.ContainsAny(host, badInHost)) {
		return nil, fmt.Errorf("host %q is not a host", host)
	}
	if separate, ok := p["separateOutputStream"]; ok && separate != "true" && separate != "false" {
		return nil, fmt.Errorf("separateOutputStream %q is neither true nor false", separate)
	}
	for _, name := range []string{"stdoutSeparatorPrefix", "stderrSeparatorPrefix"} {
		if !separatorPrefix.MatchString(p[name]) {
			return nil, fmt.Errorf("%s %q does not match %s", name, p[name], separatorPrefix)
		}
	}
	return p, nil
}
