package rigtest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// Bare is ssmpipe without ssh, in front of a TCP server of the test's own.
type Bare struct {
	*awstest.Server
	Environ  []string
	Accepted chan net.Conn
	Listener net.Listener
}

// NewBare starts a service, and listens where its nodes' port leads to.
func NewBare(t testing.TB, cfg ssmtest.Config) *Bare {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &Bare{Accepted: make(chan net.Conn, 16), Listener: l}
	b.Server = Service(t, cfg, l.Addr().String())
	b.Environ = Environ(t, b.Server)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.Accepted <- c
		}
	}()
	t.Cleanup(func() { l.Close() })
	return b
}

// Command prepares ssmpipe proxy.
func (b *Bare) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(SSMPipe, append([]string{"proxy"}, args...)...)
	cmd.Env = b.Environ
	return cmd
}

// Process is an ssmpipe with pipes to it, as ssh holds them.
type Process struct {
	*exec.Cmd
	In    *os.File     // its stdin
	Out   *os.File     // its stdout
	Said  bytes.Buffer // its stderr
	Ended chan struct{}
}

// Start starts ssmpipe proxy, which is killed with the test if it still runs then.
func (b *Bare) Start(t testing.TB, args ...string) *Process {
	t.Helper()
	p := &Process{Cmd: b.Command(args...), Ended: make(chan struct{})}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.In, p.Out = inW, outR
	p.Cmd.Stdin, p.Cmd.Stdout, p.Cmd.Stderr = inR, outW, &p.Said
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	go func() {
		p.Wait()
		close(p.Ended)
	}()
	t.Cleanup(func() {
		inW.Close()
		outR.Close()
		p.Process.Kill()
		<-p.Ended
	})
	return p
}

// Far returns the next connection that comes to the port there.
func (b *Bare) Far(t testing.TB) net.Conn {
	t.Helper()
	select {
	case c := <-b.Accepted:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("the port was not dialled")
		return nil
	}
}

// WantEnd waits for the process to end within d, with a status, a text on
// stderr (one line, or none if it is empty), and no session left.
func (p *Process) WantEnd(t testing.TB, b *Bare, d time.Duration, status int, text string) {
	t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(d + 3*time.Second): // starting and noticing takes time on a busy machine
		t.Fatalf("still running after %v; stderr %q", d, p.Said.String())
	}
	if got := p.ProcessState.ExitCode(); got != status {
		t.Errorf("status %d, want %d; stderr %q", got, status, p.Said.String())
	}
	stderr := p.Said.String()
	switch {
	case text == "" && stderr != "":
		t.Errorf("stderr %q, want silence", stderr)
	case text != "" && (strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, text) || !strings.HasPrefix(stderr, "ssmpipe: ")):
		t.Errorf("stderr %q, want one line with %q", stderr, text)
	}
	NoSessions(t, b)
}
