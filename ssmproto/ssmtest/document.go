package ssmtest

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// document is a Session document: it turns the parameters of StartSession into
// what the agent is told to do.
type document struct {
	// sessionType is what the agent asks for in its handshake.
	sessionType string

	// defaults names the parameters and gives the values of those left out.
	defaults map[string]string

	// fixed are properties that do not come from a parameter.
	fixed map[string]string
}

// localPortForwarding is the type of the sessions that forward a port.
const localPortForwarding = "LocalPortForwarding"

// documents are those of AWS's that the agents here know.
var documents = map[string]document{
	"AWS-StartSSHSession": {
		sessionType: "Port",
		defaults:    map[string]string{"portNumber": "22"},
	},
	"AWS-StartPortForwardingSession": {
		sessionType: "Port",
		defaults:    map[string]string{"portNumber": "80", "localPortNumber": "0"},
		fixed:       map[string]string{"type": localPortForwarding},
	},
	"AWS-StartPortForwardingSessionToRemoteHost": {
		sessionType: "Port",
		defaults:    map[string]string{"portNumber": "80", "localPortNumber": "0", "host": "localhost"},
		fixed:       map[string]string{"type": localPortForwarding},
	},
}

// badInHost are the characters that AWS's document does not allow in a host,
// which is used in no other way here, and white space.
const badInHost = ",$^&()!;'\"<>`{}[]|#= \t\r\n"

// properties returns what goes into the handshake's Properties. Every value is
// a list of one string.
func (d document) properties(parameters map[string][]string) (map[string]string, error) {
	p := maps.Clone(d.defaults)
	maps.Copy(p, d.fixed)
	for name, values := range parameters {
		if _, ok := d.defaults[name]; !ok {
			return nil, fmt.Errorf("parameter %q is not one of the document's", name)
		}
		if len(values) != 1 {
			return nil, fmt.Errorf("parameter %q has %d values, not 1", name, len(values))
		}
		p[name] = values[0]
	}
	if port, err := strconv.ParseUint(p["portNumber"], 10, 16); err != nil || port == 0 {
		return nil, fmt.Errorf("portNumber %q is not a port", p["portNumber"])
	}
	if local, ok := p["localPortNumber"]; ok { // 0: the client chooses
		if _, err := strconv.ParseUint(local, 10, 16); err != nil {
			return nil, fmt.Errorf("localPortNumber %q is not a port", local)
		}
	}
	if host, ok := p["host"]; ok && (len(host) < 3 || strings.ContainsAny(host, badInHost)) {
		return nil, fmt.Errorf("host %q is not a host", host)
	}
	return p, nil
}
