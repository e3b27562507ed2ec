//go:build unix

package keys

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"
)

// ring is agents of which each has the next one as the user's own.
func ring(t *testing.T, n int) (paths []string, agents []*Agent) {
	dir, err := os.MkdirTemp("", "ring") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o700)
	for i := range n {
		paths = append(paths, filepath.Join(dir, fmt.Sprint("agent", i)))
	}
	known := make(chan struct{})
	close(known)
	for i := range n {
		t.Setenv("SSH_AUTH_SOCK", paths[(i+1)%n])
		a, err := NewAgent(paths[i], known, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Close)
		agents = append(agents, a)
	}
	return paths, agents
}

func (a *Agent) connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns)
}

// TestAgentsThatLeadToEachOther: each is asked once, whichever is asked first, by
// however many.
func TestAgentsThatLeadToEachOther(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		paths, agents := ring(t, n)
		for _, path := range paths {
			for range 10 { // at once
				conn, err := net.Dial("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				client := agent.NewClient(conn)
				keys, err := client.List()
				if err != nil || len(keys) != n {
					t.Errorf("%d agents: %d keys, %v", n, len(keys), err)
				}
				if _, err := client.Sign(agents[1].Public, []byte("text")); err != nil {
					t.Errorf("%d agents: signing with the key of another: %v", n, err)
				}
			}
		}
		for _, a := range agents {
			if held := a.connections(); held > 10*2*n {
				t.Errorf("%d agents: %d connections at one of them", n, held)
			}
		}
	}
}

// TestAgentsThatDoNotKnowEachOther: where nothing tells that they lead to each
// other, as through sshd, there is an end all the same.
func TestAgentsThatDoNotKnowEachOther(t *testing.T) {
	paths, agents := ring(t, 2)
	for i, a := range agents { // by way of somebody else's sockets
		path := filepath.Join(filepath.Dir(paths[0]), fmt.Sprint("sshd", i))
		between, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer between.Close()
		go func() {
			for {
				c, err := between.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if far, err := net.Dial("unix", paths[1-i]); err == nil {
						defer far.Close()
						go func() {
							io.Copy(far, c)
							far.Close()
						}()
						io.Copy(c, far)
					}
				}()
			}
		}()
		a.users = path
	}
	conn, err := net.Dial("unix", paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := agent.NewClient(conn).List(); err != nil {
		t.Error(err)
	}
	for _, a := range agents {
		if held := a.connections(); held > maxAgentConns {
			t.Errorf("%d connections", held)
		}
	}
}

// TestAgentBesideAForeignOne: others than ours are not told by way of whom they
// are asked.
func TestAgentBesideAForeignOne(t *testing.T) {
	paths, _ := ring(t, 1)
	foreign := filepath.Join(filepath.Dir(paths[0]), "foreign")
	l, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if isOwnSocket(foreign) || !isOwnSocket(paths[0]) {
		t.Error("ours and theirs are not told apart")
	}
}
