package ssmtest

import (
	"fmt"
	"maps"
	"strconv"
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

// documents are those of AWS's that the agents here know.
var documents = map[string]document{
	"AWS-StartSSHSession": {
		sessionType: "Port",
		defaults:    map[string]string{"portNumber": "22"},
	},
}

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
	return p, nil
}
