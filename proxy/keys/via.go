package keys

import (
	"net"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/crypto/ssh"
)

// The user's own agent may be another ssmpipe's, whose user's agent in turn may
// be this one: SSH_AUTH_SOCK is whatever the shell was started with. So our
// agents tell each other which agents a request has passed through, and an
// agent that sees a request a second time does not answer.

// viaRequest is our own extension of the agent protocol: the ids of the agents
// that a connection has passed through.
const viaRequest = "via@ssmpipe"

// maxVia is the maximum number of agents in a chain.
const maxVia = 8

// seek connects to the user's own agent, unless that was tried before.
func (c *agentConn) seek() {
	path := c.users
	if c.sought || path == "" || c.socket.is(path) {
		return
	}
	c.sought = true
	user, err := net.Dial("unix", path)
	switch {
	case err != nil:
		c.log.Debug("no ssh-agent of the user's", "err", err)
	case !c.hold(user):
	case !c.introduced(user, path):
		c.log.Debug("the user's ssh-agent leads back here")
		c.release(user)
	default:
		c.user = user
	}
}

// introduced tells one of our agents which agents the connection has passed
// through, and reports whether it will answer. Other agents need not know.
func (c *agentConn) introduced(user net.Conn, path string) bool {
	if !isOwnSocket(path) {
		return true
	}
	request := ssh.Marshal(struct {
		Name string `sshtype:"27"`
		IDs  []string
	}{viaRequest, append(slices.Clone(c.via), c.id)})
	if writeAgentMessage(user, request) != nil {
		return false
	}
	answer, err := readAgentMessage(user)
	// An agent of an older version passes the request on, or fails.
	return err == nil && answer[0] != agentNoExtension
}

var ownPrefixes = regexp.MustCompile(`^\.[0-9a-f]{6}\.`)

// isOwnSocket reports whether one of our agents, perhaps in another process, is
// at path.
func isOwnSocket(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	name := filepath.Base(real)
	prefix := ownPrefixes.FindString(name)
	_, ok := parseSocketName(name[len(prefix):])
	return prefix != "" && ok
}

// comesVia records the agents that the connection has passed through.
func (c *agentConn) comesVia(rest []byte) []byte {
	var r struct{ IDs []string }
	if ssh.Unmarshal(rest, &r) != nil || len(r.IDs) > maxVia || slices.Contains(r.IDs, c.id) {
		c.sought = true // if the caller asks nevertheless, it gets only our key
		return []byte{agentNoExtension}
	}
	c.via = r.IDs
	return []byte{agentSuccess}
}
