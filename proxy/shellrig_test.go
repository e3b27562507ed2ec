//go:build unix

package proxy_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/terminal"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// shellRig is a service with nodes on which shells and commands run as on any
// machine, but at home in a directory of the test's.
type shellRig struct {
	*awstest.Server
	env  []string // of ssmpipe
	home string
}

func newShellRig(t testing.TB, cfg awstest.Config) *shellRig {
	t.Helper()
	r := &shellRig{Server: serviceWith(t, cfg, ""), home: t.TempDir()}
	for _, id := range []string{node1, node2} {
		r.AddNode(awstest.Node{ID: id, Name: "web-" + id[2:4], Node: ssmtest.Node{Command: r.far}})
	}
	r.env = environ(t, r.Server)
	return r
}

// farEnv is what commands have there, and those that are compared with them.
func (r *shellRig) farEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "PS1=$ ", "ENV=", "LANG=C.UTF-8", "TERM=xterm-256color"}
}

func (r *shellRig) far(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = r.farEnv(), r.home
	return cmd
}

func (r *shellRig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(ssmpipe, args...)
	cmd.Env = r.env
	return cmd
}

// screen is a terminal of ours with a program on it.
type screen struct {
	*os.File
	cmd    *exec.Cmd
	ended  chan struct{} // the program has, and all that it wrote is read
	before term.State

	mu     sync.Mutex
	text   bytes.Buffer
	reader *terminal.Reader
	left   bool // hangUp has been called
	hangUp func()
	close  func()
}

// onScreen starts cmd on a terminal of 100 columns and 30 lines.
func onScreen(t testing.TB, cmd *exec.Cmd) *screen {
	t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	pty.Setsize(ours, &pty.Winsize{Cols: 100, Rows: 30})
	s := &screen{File: ours, cmd: cmd, ended: make(chan struct{})}
	s.before = s.modes(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.reader = terminal.NewReader(ours)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer s.reader.Close()
		b := make([]byte, 32<<10)
		for {
			n, err := s.reader.Read(b)
			s.mu.Lock()
			s.text.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(s.ended)
		cmd.Wait()
	}()
	// The terminal keeps its modes while somebody has it open, and its other end
	// is read until nobody has.
	var once sync.Once
	s.close = func() {
		once.Do(func() {
			theirs.Close()
			if !s.left {
				<-read
				ours.Close()
			}
		})
	}
	s.hangUp = func() {
		s.left = true
		s.reader.Stop()
		<-read
		ours.Close()
	}
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // and what it has started
		<-s.ended
		s.close()
		if t.Failed() {
			t.Logf("the screen: %q", tail(s.seen(), 2000))
		}
	})
	return s
}

func tail(s string, n int) string { return s[max(len(s)-n, 0):] }

func (s *screen) modes(t testing.TB) term.State {
	t.Helper()
	state, err := term.GetState(int(s.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *state
}

// seen is all that the program has written.
func (s *screen) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// sees waits for text behind what was there before.
func (s *screen) sees(t testing.TB, from int, text string) {
	t.Helper()
	waitFor(t, text, func() bool { return strings.Contains(s.seen()[from:], text) })
}

func (s *screen) types(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(s.File, text); err != nil {
		t.Fatal(err)
	}
}

// does types a command and waits for what it prints at last. The command must
// write that otherwise than it is shown.
func (s *screen) does(t testing.TB, command, last string) {
	t.Helper()
	from := len(s.seen())
	s.types(t, command+"\r")
	s.sees(t, from, last)
}

// wantEnd waits for the program's end, with a status and the terminal as it was.
func (s *screen) wantEnd(t testing.TB, srv *awstest.Server, status int) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		s.cmd.Process.Signal(unix.SIGQUIT)
		t.Fatalf("still running; the screen is %q", tail(s.seen(), 3000))
	}
	if got := s.cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("status %d, want %d; %v", got, status, s.cmd.ProcessState)
	}
	if s.modes(t) != s.before {
		t.Error("the terminal is not as it was")
	}
	if n := srv.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions linger in the account", n)
	}
	s.close()
}

// shell starts ssmpipe shell and waits for the far one's prompt.
func (r *shellRig) shell(t testing.TB, args ...string) *screen {
	t.Helper()
	s := onScreen(t, r.command(append(append([]string{"shell"}, args...), node1)...))
	s.sees(t, 0, "$ ")
	if s.modes(t) == s.before {
		t.Error("the terminal is not in raw mode")
	}
	return s
}

func (r *shellRig) path(name string) string { return filepath.Join(r.home, name) }

// exec prepares ssmpipe exec of a command on the first node.
func (r *shellRig) exec(args ...string) *exec.Cmd {
	return r.command(append([]string{"exec", node1}, args...)...)
}
