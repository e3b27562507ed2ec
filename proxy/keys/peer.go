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

// Several ssh, to one machine or many, may have the same IdentityAgent, and its
// path leads to one socket at a time. Each ssh is to find its own ssmpipe, since
// only that has the key which was pushed for it. So a socket's name says which
// ssh it is for, and a connection from another ssh is passed on to that one's.

// socketName is what the name of a socket says.
type socketName struct {
	ssh   int    // the process that has started ours
	pid   int    // ours
	agent string // which agent the user has; see usersAgent
}

func (n socketName) String() string {
	return strconv.FormatInt(int64(n.ssh), 36) + "." + strconv.FormatInt(int64(n.pid), 36) + "." + n.agent
}

// agentDigits is how long a usersAgent is.
const agentDigits = 3

// usersAgent is a short mark of the ssh-agent that the user has here.
func usersAgent() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(os.Getenv("SSH_AUTH_SOCK"))))[:agentDigits]
}

// parseSocketName reads a socket's name behind its prefix.
func parseSocketName(text string) (n socketName, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || len(parts[2]) < agentDigits {
		return n, false
	}
	ssh, err1 := strconv.ParseInt(parts[0], 36, 32)
	pid, err2 := strconv.ParseInt(parts[1], 36, 32)
	return socketName{int(ssh), int(pid), parts[2][:agentDigits]}, err1 == nil && err2 == nil
}

// caller is whose a connection to the agent is.
type caller struct {
	other   string // the socket that it is meant for; "": ours
	unclear bool   // of several users' agents nobody can say which is meant
}

// whose says whom a connection is meant for: the ssmpipe that its ssh has
// started. One that goes on in the background (ssh -f) has another process by
// then: it is served by any, if they all have the same agent behind them.
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
			return caller{} // it has passed this on to us
		case n.ssh == peer:
			c.other = filepath.Join(filepath.Dir(s.path), e.Name())
		case n.agent != usersAgent():
			c.unclear = true
		}
	}
	return c
}

// passOn hands a connection on to another ssmpipe's socket, until either side
// ends. It says whether there was one.
func (a *Agent) passOn(conn net.Conn, socket string) bool {
	other, err := net.Dial("unix", socket)
	if err != nil {
		return false // it has just ended
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
