package plugin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/forward"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// pluginRequest is what StartSession was asked for, as the AWS CLI passes it to
// its plugin.
type pluginRequest struct {
	Target, DocumentName, Reason string
	Parameters                   map[string][]string

	known bool // enough of it to ask for the same again
}

// read takes in what is passed. It need not be right, and old AWS CLIs pass
// nothing: some callers pass "" here.
func (r *pluginRequest) read(text string) {
	if json.Unmarshal([]byte(text), r) != nil {
		r.Parameters = nil // of a wrong type, or half of them
		return
	}
	r.known = r.Target != "" && r.DocumentName != ""
}

// value is a parameter, or "".
func (r *pluginRequest) value(name string) string {
	if values := r.Parameters[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// local is where a session's connections are taken in. The request decides; what
// the agent says, which is what its document makes of the request, must agree:
// else a hostile machine could put itself in the place of a service here, or a
// file where it likes. It is heard only about a port that nobody has named: with
// a document of the account's own, or an AWS CLI that does not pass the request.
func (r *pluginRequest) local(property func(name string) string) (forward.Spec, error) {
	unix := r.value("localUnixSocket")
	switch {
	case r.DocumentName == machine.SSHDocument:
		return forward.Spec{}, fmt.Errorf("%w: one, where %s has none", machine.ErrAgentDecides, machine.SSHDocument)
	case property("localConnectionType") == "unix" && (unix == "" || property("localUnixSocket") != unix):
		return forward.Spec{}, fmt.Errorf("%w: the Unix socket %q", machine.ErrAgentDecides, safetext.Said(property("localUnixSocket")))
	case property("localConnectionType") == "unix":
		return forward.Spec{Network: "unix", Listen: unix}, nil
	case r.value("localConnectionType") == "unix":
		return forward.Spec{}, fmt.Errorf("%w: none on a Unix socket", machine.ErrAgentDecides)
	}
	port, err := r.localPort(property("localPortNumber"))
	if err != nil {
		return forward.Spec{}, err
	}
	host := cmp.Or(os.Getenv("SSM_PLUGIN_LOCAL_HOST"), "localhost")
	return forward.Spec{Network: "tcp", Listen: net.JoinHostPort(host, strconv.Itoa(port))}, nil
}

// localPort is the port to listen on, 0 for any, where the agent names one.
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
	return 0, fmt.Errorf("%w: port %s, not %s", machine.ErrAgentDecides, safetext.Said(named), asked)
}
