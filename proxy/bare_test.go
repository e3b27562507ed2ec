package proxy_test

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

// bare is ssmpipe without ssh, in front of a TCP server of the test's own.
type bare struct {
	*awstest.Server
	env      []string
	accepted chan net.Conn
	listener net.Listener
}

func newBare(t testing.TB, cfg ssmtest.Config) *bare {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{accepted: make(chan net.Conn, 16), listener: l}
	b.Server = service(t, cfg, l.Addr().String())
	b.env = environ(t, b.Server)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.accepted <- c
		}
	}()
	t.Cleanup(func() { l.Close() })
	return b
}

func (b *bare) command(args ...string) *exec.Cmd {
	cmd := exec.Command(ssmpipe, append([]string{"proxy"}, args...)...)
	cmd.Env = b.env
	return cmd
}

// process is an ssmpipe with pipes to it, as ssh holds them.
type process struct {
	*exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr bytes.Buffer
	ended  chan struct{}
}

func (b *bare) start(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{Cmd: b.command(args...), ended: make(chan struct{})}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.stdout = inW, outR
	p.Cmd.Stdin, p.Cmd.Stdout, p.Cmd.Stderr = inR, outW, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	go func() {
		p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		inW.Close()
		outR.Close()
		p.Process.Kill()
		<-p.ended
	})
	return p
}

func (b *bare) far(t testing.TB) net.Conn {
	t.Helper()
	select {
	case c := <-b.accepted:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("the port was not dialled")
		return nil
	}
}

// wantEnd waits for the process to end within d, with a status, a text on
// stderr (one line, or none if it is empty), and no session left.
func (p *process) wantEnd(t testing.TB, b *bare, d time.Duration, status int, text string) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(d + 3*time.Second): // starting and noticing takes time on a busy machine
		t.Fatalf("still running after %v; stderr %q", d, p.stderr.String())
	}
	if got := p.ProcessState.ExitCode(); got != status {
		t.Errorf("status %d, want %d; stderr %q", got, status, p.stderr.String())
	}
	stderr := p.stderr.String()
	switch {
	case text == "" && stderr != "":
		t.Errorf("stderr %q, want silence", stderr)
	case text != "" && (strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, text) || !strings.HasPrefix(stderr, "ssmpipe: ")):
		t.Errorf("stderr %q, want one line with %q", stderr, text)
	}
	if n := b.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions linger in the account", n)
	}
}
