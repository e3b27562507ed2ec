//go:build unix

package rigtest

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

// Shells is a service with nodes on which shells and commands run as on any
// machine, but at home in a directory of the test's.
type Shells struct {
	*awstest.Server
	Environ []string // of ssmpipe
	Home    string
}

// NewShells starts the service.
func NewShells(t testing.TB, cfg awstest.Config) *Shells {
	t.Helper()
	r := &Shells{Server: ServiceWith(t, cfg, ""), Home: t.TempDir()}
	for _, id := range []string{Node1, Node2} {
		r.AddNode(awstest.Node{ID: id, Name: "web-" + id[2:4], Node: ssmtest.Node{Command: r.Far}})
	}
	r.Environ = Environ(t, r.Server)
	return r
}

// FarEnv is what commands have there, and those that are compared with them.
func (r *Shells) FarEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.Home, "PS1=$ ", "ENV=", "LANG=C.UTF-8", "TERM=xterm-256color"}
}

// Far prepares a command as the nodes run it.
func (r *Shells) Far(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = r.FarEnv(), r.Home
	return cmd
}

// Command prepares ssmpipe.
func (r *Shells) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(SSMPipe, args...)
	cmd.Env = r.Environ
	return cmd
}

// Screen is a terminal of ours with a program on it.
type Screen struct {
	*os.File
	Cmd    *exec.Cmd
	Ended  chan struct{} // the program has, and all that it wrote is read
	Before term.State

	mu     sync.Mutex
	text   bytes.Buffer
	reader *terminal.Reader
	left   bool // HangUp has been called
	HangUp func()
	close  func()
}

// OnScreen starts cmd on a terminal of 100 columns and 30 lines.
func OnScreen(t testing.TB, cmd *exec.Cmd) *Screen {
	t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	pty.Setsize(ours, &pty.Winsize{Cols: 100, Rows: 30})
	s := &Screen{File: ours, Cmd: cmd, Ended: make(chan struct{})}
	s.Before = s.Modes(t)
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
		defer close(s.Ended)
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
	s.HangUp = func() {
		s.left = true
		s.reader.Stop()
		<-read
		ours.Close()
	}
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // and what it has started
		<-s.Ended
		s.close()
		if t.Failed() {
			t.Logf("the screen: %q", tail(s.Seen(), 2000))
		}
	})
	return s
}

func tail(s string, n int) string { return s[max(len(s)-n, 0):] }

// Modes are those that the terminal has now.
func (s *Screen) Modes(t testing.TB) term.State {
	t.Helper()
	state, err := term.GetState(int(s.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *state
}

// Seen is all that the program has written.
func (s *Screen) Seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Sees waits for text behind what was there before.
func (s *Screen) Sees(t testing.TB, from int, text string) {
	t.Helper()
	WaitFor(t, text, func() bool { return strings.Contains(s.Seen()[from:], text) })
}

// Types types text as the user does.
func (s *Screen) Types(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(s.File, text); err != nil {
		t.Fatal(err)
	}
}

// Does types a command and waits for what it prints at last. The command must
// write that otherwise than it is shown.
func (s *Screen) Does(t testing.TB, command, last string) {
	t.Helper()
	from := len(s.Seen())
	s.Types(t, command+"\r")
	s.Sees(t, from, last)
}

// WantEnd waits for the program's end, with a status and the terminal as it was.
func (s *Screen) WantEnd(t testing.TB, srv *awstest.Server, status int) {
	t.Helper()
	select {
	case <-s.Ended:
	case <-time.After(time.Minute):
		s.Cmd.Process.Signal(unix.SIGQUIT)
		t.Fatalf("still running; the screen is %q", tail(s.Seen(), 3000))
	}
	if got := s.Cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("status %d, want %d; %v", got, status, s.Cmd.ProcessState)
	}
	if s.Modes(t) != s.Before {
		t.Error("the terminal is not as it was")
	}
	NoSessions(t, srv)
	s.close()
}

// Shell starts ssmpipe shell and waits for the far one's prompt.
func (r *Shells) Shell(t testing.TB, args ...string) *Screen {
	t.Helper()
	s := OnScreen(t, r.Command(append(append([]string{"shell"}, args...), Node1)...))
	s.Sees(t, 0, "$ ")
	if s.Modes(t) == s.Before {
		t.Error("the terminal is not in raw mode")
	}
	return s
}

// Path is the path of a file of the far home.
func (r *Shells) Path(name string) string { return filepath.Join(r.Home, name) }

// Exec prepares ssmpipe exec of a command on the first node.
func (r *Shells) Exec(args ...string) *exec.Cmd {
	return r.Command(append([]string{"exec", Node1}, args...)...)
}
