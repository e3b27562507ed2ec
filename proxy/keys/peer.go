package keys

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Several ssh processes, to one machine or many, may share an IdentityAgent,
// and its path leads to one socket at a time. Each ssh must reach its own
// ssmpipe, since only that one has the key that was pushed for it. So a
// socket's name says which ssh it is for, and a connection from another ssh is
// forwarded to that ssh's socket.

// socketName is a parsed socket name.
type socketName struct {
	ssh   int    // pid of the process that started the ssmpipe
	pid   int    // pid of the ssmpipe
	agent string // the user's agent; see usersAgent
}

func (n socketName) String() string {
	return strconv.FormatInt(int64(n.ssh), 36) + "." + strconv.FormatInt(int64(n.pid), 36) + "." + n.agent
}

// agentDigits is the length of a usersAgent.
const agentDigits = 3

// usersAgent returns a short identifier of the user's ssh-agent in this
// process.
func usersAgent() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(os.Getenv("SSH_AUTH_SOCK"))))[:agentDigits]
}

// parseSocketName parses a socket's name after its prefix.
func parseSocketName(text string) (n socketName, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || len(parts[2]) < agentDigits {
		return n, false
	}
	ssh, err1 := strconv.ParseInt(parts[0], 36, 32)
	pid, err2 := strconv.ParseInt(parts[1], 36, 32)
	return socketName{int(ssh), int(pid), parts[2][:agentDigits]}, err1 == nil && err2 == nil
}

// caller says which agent a connection is for.
type caller struct {
	other   string // the socket that the connection is for; "" means ours
	unclear bool   // it is not clear which of several agents the connection is for
}

// whose returns which agent a connection is for: that of the ssmpipe that its
// ssh started. An ssh that continues in the background (ssh -f) has a different
// process by then. Any ssmpipe serves it, if all of them have the same user's
// agent.
func (s *agentSocket) whose(conn net.Conn) (c caller) {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return c
	}
	peer := peerPID(unix)
	if peer == 0 || peer == os.Getppid() || peer == os.Getpid() {
		return c
	}
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		return c
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), ownPrefix(s.path))
		n, ok2 := parseSocketName(rest)
		switch {
		case !ok || !ok2:
		case n.pid == peer:
			return caller{} // it has forwarded this connection to us
		case n.ssh == peer:
			c.other = filepath.Join(filepath.Dir(s.path), e.Name())
		case n.agent != usersAgent():
			c.unclear = true
		}
	}
	return c
}

// passOn forwards a connection to another ssmpipe's socket until either side
// ends. It reports whether that socket could be reached.
func (a *Agent) passOn(conn net.Conn, socket string) bool {
	other, err := net.Dial("unix", socket)
	if err != nil {
		return false // the other ssmpipe has just ended
	}
	if !a.hold(other) {
		return true
	}
	defer a.release(other)
	done := make(chan struct{})
	go func() {
		io.Copy(other, conn)
		other.Close()
		conn.Close()
		close(done)
	}()
	io.Copy(conn, other)
	other.Close()
	conn.Close()
	<-done
	return true
}
