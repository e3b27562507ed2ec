package keys

import (
	"net"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/crypto/ssh"
)

// The user's own agent may be that of another ssmpipe, whose own one in turn may
// be this one: SSH_AUTH_SOCK is whatever a shell was started with. So agents of
// ours tell each other by way of whom a question comes, and one to whom it comes
// for the second time does not answer.

// viaRequest is an extension of the agent's protocol, of ours alone: the ids of
// the agents that a connection comes by way of.
const viaRequest = "via@ssmpipe"

// maxVia is how many agents there may be, one behind the other.
const maxVia = 8

// seek connects to the user's own agent, if that was not tried before.
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

// introduced tells an agent of ours whom it is asked by; it says whether that
// will answer. All others need not know.
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
	// One of an older version passes the question on, or fails.
	return err == nil && answer[0] != agentNoExtension
}

var ownPrefixes = regexp.MustCompile(`^\.[0-9a-f]{6}\.`)

// isOwnSocket says whether an agent of ours, perhaps another process's, is at
// path.
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

// comesVia takes in by way of whom the connection comes.
func (c *agentConn) comesVia(rest []byte) []byte {
	var r struct{ IDs []string }
	if ssh.Unmarshal(rest, &r) != nil || len(r.IDs) > maxVia || slices.Contains(r.IDs, c.id) {
		c.sought = true // whoever asks all the same gets our key alone
		return []byte{agentNoExtension}
	}
	c.via = r.IDs
	return []byte{agentSuccess}
}
