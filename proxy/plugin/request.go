package plugin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/forward"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// pluginRequest holds the parameters of StartSession, as the AWS CLI passes them
// to its plugin.
type pluginRequest struct {
	Target, DocumentName, Reason string
	Parameters                   map[string][]string

	known bool // it is complete enough to repeat
}

// read parses text. Errors are ignored: old AWS CLIs pass no request, and some
// callers pass "".
func (r *pluginRequest) read(text string) {
	if json.Unmarshal([]byte(text), r) != nil {
		r.Parameters = nil // they may be incomplete or of the wrong type
		return
	}
	r.known = r.Target != "" && r.DocumentName != ""
}

// value returns the value of a parameter, or "".
func (r *pluginRequest) value(name string) string {
	if values := r.Parameters[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// errAgentDecides says that the agent asked for a local end that was not
// requested on this side.
var errAgentDecides error = agentDecidesError{}

type agentDecidesError struct{}

func (agentDecidesError) Error() string {
	return "the agent names a local address that was not asked for"
}

// Next returns what the user can do.
func (agentDecidesError) Next() string {
	return "do not trust this machine; or, if the document takes localPortNumber, add it to the parameters"
}

// local returns where to listen for a session's connections. The request
// decides, and what the agent reports, which its document derives from the
// request, must agree. Otherwise a hostile machine could impersonate a local
// service or create a file anywhere. The agent's port is used only if the request
// has none: with a document of the account's own, or an AWS CLI that does not pass
// the request.
func (r *pluginRequest) local(property func(name string) string) (forward.Spec, error) {
	unix := r.value("localUnixSocket")
	switch {
	case r.DocumentName == aws.SSHDocument:
		return forward.Spec{}, fmt.Errorf("%w: %s has none", errAgentDecides, aws.SSHDocument)
	case property("localConnectionType") == "unix" && (unix == "" || property("localUnixSocket") != unix):
		return forward.Spec{}, fmt.Errorf("%w: the Unix socket %q", errAgentDecides, safetext.Said(property("localUnixSocket")))
	case property("localConnectionType") == "unix":
		return forward.Spec{Network: "unix", Listen: unix}, nil
	case r.value("localConnectionType") == "unix":
		return forward.Spec{}, fmt.Errorf("%w: not a Unix socket", errAgentDecides)
	}
	port, err := r.localPort(property("localPortNumber"))
	if err != nil {
		return forward.Spec{}, err
	}
	host := cmp.Or(os.Getenv("SSM_PLUGIN_LOCAL_HOST"), "localhost")
	return forward.Spec{Network: "tcp", Listen: net.JoinHostPort(host, strconv.Itoa(port))}, nil
}

// localPort returns the port to listen on, given the port that the agent
// reports; 0 means any.
func (r *pluginRequest) localPort(named string) (int, error) {
	asked := cmp.Or(r.value("localPortNumber"), "0")
	port, err := strconv.ParseUint(asked, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%w: localPortNumber %q is not a port", ErrPlugin, asked)
	}
	other, err := strconv.ParseUint(cmp.Or(named, asked), 10, 16)
	switch {
	case err == nil && port == other:
		return int(port), nil
	case err == nil && r.Parameters["localPortNumber"] == nil && !strings.HasPrefix(r.DocumentName, "AWS-") && other >= 1024:
		return int(other), nil
	}
	return 0, fmt.Errorf("%w: port %s, not %s", errAgentDecides, safetext.Said(named), asked)
}
