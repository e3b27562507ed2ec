package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// inside is the network behind a node: names and where they really are.
type inside struct {
	mu    sync.Mutex
	hosts map[string]string // HOST:PORT to an address here
}

func newInside() *inside { return &inside{hosts: make(map[string]string)} }

// put gives a listener a name inside.
func (n *inside) put(name, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name] = address
}

func (n *inside) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	real, ok := n.hosts[address]
	n.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: no such host", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, real)
}

// bastion is a service with one node that has a network behind it.
type bastion struct {
	*awstest.Server
	*inside
	env []string
}

func newBastion(t testing.TB, cfg ssmtest.Config) *bastion {
	t.Helper()
	b := &bastion{inside: newInside(), Server: awstest.NewServer(awstest.Config{Config: cfg})}
	t.Cleanup(func() {
		b.Server.Close()
		for _, s := range b.Sessions() {
			if !s.Ended() {
				t.Errorf("session %s lingers in the account", s.ID())
			}
		}
	})
	b.AddNode(awstest.Node{ID: node1, Node: ssmtest.Node{Dial: b.dial}})
	b.env = environ(t, b.Server)
	return b
}

// connections is how many the agents hold now.
func (b *bastion) connections() (n int) {
	for _, s := range b.Sessions() {
		n += s.Connections()
	}
	return n
}

// live is how many sessions there are.
func (b *bastion) live() (n int) {
	for _, s := range b.Sessions() {
		if !s.Ended() {
			n++
		}
	}
	return n
}

// forwarding is a running `ssmpipe forward`.
type forwarding struct {
	*exec.Cmd
	b      *bastion
	ended  chan struct{}
	ready  []string // where it listens, in the order of its lines
	mu     sync.Mutex
	stderr bytes.Buffer
}

// Write takes in stderr.
func (f *forwarding) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stderr.Write(p)
}

// said returns what is on stderr.
func (f *forwarding) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stderr.String()
}

// forward starts `ssmpipe forward` and waits until n forwards are ready.
func (b *bastion) forward(t testing.TB, n int, args ...string) *forwarding {
	t.Helper()
	f := b.tryForward(t, args...)
	out, err := f.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.end)
	lines := bufio.NewScanner(out)
	for len(f.ready) < n && lines.Scan() {
		var line struct{ Listen string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Listen == "" {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		f.ready = append(f.ready, line.Listen)
	}
	go func() {
		io.Copy(io.Discard, out)
		f.Wait()
		close(f.ended)
	}()
	if len(f.ready) < n {
		<-f.ended
		t.Fatalf("%d of %d forwards are ready: %s", len(f.ready), n, f.said())
	}
	return f
}

// tryForward prepares the command.
func (b *bastion) tryForward(t testing.TB, args ...string) *forwarding {
	t.Helper()
	f := &forwarding{b: b, ended: make(chan struct{})}
	f.Cmd = exec.Command(ssmpipe, append(append([]string{"forward", "--json"}, args...), node1)...)
	f.Env = b.env
	f.Stderr = f
	return f
}

// end stops it as Ctrl-C does, in the time that is promised.
func (f *forwarding) end() {
	select {
	case <-f.ended:
		return
	default:
	}
	f.Process.Signal(syscall.SIGINT)
	select {
	case <-f.ended:
	case <-time.After(10 * time.Second):
		f.Process.Kill()
		<-f.ended
	}
}

// wantEnd waits for the process to end by itself with status and a text on
// stderr, and no session left.
func (f *forwarding) wantEnd(t testing.TB, status int, text string) {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("still running; stderr %q", f.said())
	}
	if got := f.ProcessState.ExitCode(); got != status || !strings.Contains(f.said(), text) {
		t.Errorf("status %d, want %d; stderr %q, want %q in it", got, status, f.said(), text)
	}
	if n := f.b.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions linger in the account", n)
	}
}
