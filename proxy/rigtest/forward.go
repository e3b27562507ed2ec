package rigtest

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

// Inside is the network behind a node: names and where they really are.
type Inside struct {
	mu    sync.Mutex
	hosts map[string]string // HOST:PORT to an address here
}

// NewInside returns a network that has no hosts yet.
func NewInside() *Inside { return &Inside{hosts: make(map[string]string)} }

// Put gives a listener a name inside.
func (n *Inside) Put(name, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name] = address
}

// Dial connects to what a name stands for.
func (n *Inside) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	real, ok := n.hosts[address]
	n.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: no such host", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, real)
}

// Bastion is a service with one node that has a network behind it.
type Bastion struct {
	*awstest.Server
	*Inside
	Environ []string
}

// NewBastion starts the service. No session may be left at the end of the test.
func NewBastion(t testing.TB, cfg ssmtest.Config) *Bastion {
	t.Helper()
	b := &Bastion{Inside: NewInside(), Server: awstest.NewServer(awstest.Config{Config: cfg})}
	t.Cleanup(func() {
		NoSessions(t, b)
		b.Server.Close()
	})
	b.AddNode(awstest.Node{ID: Node1, Node: ssmtest.Node{Dial: b.Dial}})
	b.Environ = Environ(t, b.Server)
	return b
}

// Connections is how many the agents hold now.
func (b *Bastion) Connections() (n int) {
	for _, s := range b.Sessions() {
		n += s.Connections()
	}
	return n
}

// Live is how many sessions there are.
func (b *Bastion) Live() (n int) {
	for _, s := range b.Sessions() {
		if !s.Ended() {
			n++
		}
	}
	return n
}

// Forwarding is a running `ssmpipe forward`.
type Forwarding struct {
	*exec.Cmd
	b      *Bastion
	Ended  chan struct{}
	Ready  []string // where it listens, in the order of its lines
	mu     sync.Mutex
	stderr bytes.Buffer
}

// Write takes in stderr.
func (f *Forwarding) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stderr.Write(p)
}

// Said returns what is on stderr.
func (f *Forwarding) Said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stderr.String()
}

// Forward starts `ssmpipe forward` and waits until n forwards are ready.
func (b *Bastion) Forward(t testing.TB, n int, args ...string) *Forwarding {
	t.Helper()
	f := b.TryForward(t, args...)
	out, err := f.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.End)
	lines := bufio.NewScanner(out)
	for len(f.Ready) < n && lines.Scan() {
		var line struct{ Listen string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Listen == "" {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		f.Ready = append(f.Ready, line.Listen)
	}
	go func() {
		io.Copy(io.Discard, out)
		f.Wait()
		close(f.Ended)
	}()
	if len(f.Ready) < n {
		<-f.Ended
		t.Fatalf("%d of %d forwards are ready: %s", len(f.Ready), n, f.Said())
	}
	return f
}

// TryForward prepares the command.
func (b *Bastion) TryForward(t testing.TB, args ...string) *Forwarding {
	t.Helper()
	f := &Forwarding{b: b, Ended: make(chan struct{})}
	f.Cmd = exec.Command(SSMPipe, append(append([]string{"forward", "--json"}, args...), Node1)...)
	f.Env = b.Environ
	f.Stderr = f
	return f
}

// End stops it as Ctrl-C does, in the time that is promised.
func (f *Forwarding) End() {
	select {
	case <-f.Ended:
		return
	default:
	}
	f.Process.Signal(syscall.SIGINT)
	select {
	case <-f.Ended:
	case <-time.After(10 * time.Second):
		f.Process.Kill()
		<-f.Ended
	}
}

// WantEnd waits for the process to end by itself with status and a text on
// stderr, and no session left.
func (f *Forwarding) WantEnd(t testing.TB, status int, text string) {
	t.Helper()
	select {
	case <-f.Ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("still running; stderr %q", f.Said())
	}
	if got := f.ProcessState.ExitCode(); got != status || !strings.Contains(f.Said(), text) {
		t.Errorf("status %d, want %d; stderr %q, want %q in it", got, status, f.Said(), text)
	}
	NoSessions(t, f.b)
}
