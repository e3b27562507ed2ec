//go:build unix

package shell_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestShell(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := r.Shell(t)
	s.Does(t, "stty size", "30 100")
	if err := pty.Setsize(s.File, &pty.Winsize{Cols: 111, Rows: 44}); err != nil {
		t.Fatal(err)
	}
	s.Does(t, `until [ "$(stty size)" = "44 111" ]; do sleep .05; done; echo re"si"zed`, "resized")
	s.Does(t, "echo $((6*7))-é€𝄞", "42-é€𝄞")
	s.Does(t, "pwd", r.Home)
	s.Does(t, "exit", "exit\r\n")
	s.WantEnd(t, r.Server, 0)
	if text := s.Seen(); strings.Contains(text, "ssmpipe") || !strings.HasSuffix(text, "exit\r\n") {
		t.Errorf("the screen is %q", text)
	}
	session := r.Sessions()[0]
	if session.Document() != "" && session.Document() != "SSM-SessionManagerRunShell" || len(session.Parameters()) > 0 {
		t.Errorf("started %q with %v", session.Document(), session.Parameters())
	}
}

// TestShellKeys: what a terminal makes signals of goes to the far side.
func TestShellKeys(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := r.Shell(t)
	s.Does(t, `sh -c 'trap "echo g""ot it" INT; echo re""ady; while :; do sleep .02; done'`, "ready")
	s.Types(t, "\x03")
	s.Sees(t, 0, "got it")
	s.Types(t, "\x1c") // SIGQUIT, of which it dies
	s.Does(t, `echo o"ver"`, "over")
	s.Does(t, "set -m; sh -c 'echo go\"\"ing; exec sleep 1000'", "going")
	s.Types(t, "\x1a")
	s.Does(t, "jobs", "Stopped")
	s.Does(t, `kill -KILL %1; wait; echo en"ded"`, "ended")
	s.Types(t, "exit\rexit\r") // the first is not heard if the job is still there
	s.WantEnd(t, r.Server, 0)
}

// TestShellEndsBySignal: the terminal is given back, and the session is ended.
func TestShellEndsBySignal(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			r := rigtest.NewShells(t, awstest.Config{})
			s := r.Shell(t)
			s.Cmd.Process.Signal(sig)
			s.WantEnd(t, r.Server, 1)
			if strings.Contains(s.Seen(), "goroutine") {
				t.Errorf("it has crashed: %q", s.Seen())
			}
		})
	}
}

// TestShellTerminalGone: a window that is closed ends the session.
func TestShellTerminalGone(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := r.Shell(t)
	s.HangUp()
	select {
	case <-s.Ended:
	case <-time.After(30 * time.Second):
		t.Fatal("still running")
	}
	rigtest.NoSessions(t, r)
}

// farReader has the far side read n bytes as they are into a file.
func farReader(t *testing.T, s *rigtest.Screen, n int, file string) {
	t.Helper()
	s.Does(t, fmt.Sprintf(`stty raw -echo; echo re""ady; head -c %d >%s; stty sane; echo do""ne`, n, file), "ready")
}

func TestShellPaste(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := r.Shell(t)
	var want []byte
	for i := 0; len(want) < 1<<20; i++ {
		want = fmt.Appendf(want, "line %d of what is pasted, with ~. and \x1b[A and äöü\r", i)
	}
	farReader(t, s, len(want), "paste")
	from := len(s.Seen())
	s.Types(t, string(want))
	s.Sees(t, from, "done")
	rigtest.Equal(t, "paste", rigtest.ReadFile(t, r.Path("paste")), want)

	// Where the terminal says what is pasted, there is no escape in it.
	marked := "\x1b[200~a\r~.\r~~b\r\x1b[201~"
	farReader(t, s, len(marked), "marked")
	s.Types(t, marked)
	s.Sees(t, len(s.Seen())-10, "done")
	if got := rigtest.ReadFile(t, r.Path("marked")); string(got) != marked {
		t.Errorf("marked: %q", got)
	}
	s.Types(t, "exit\r")
	s.WantEnd(t, r.Server, 0)
}

// TestShellInterrupt: Ctrl-C does not wait for the output before it.
func TestShellInterrupt(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := r.Shell(t)
	s.Types(t, "yes | head -c 50M\r")
	s.Sees(t, 0, "y\r\ny\r\n")
	s.Types(t, "\x03")
	s.Does(t, "echo $((6*7))", "42")
	if n := len(s.Seen()); n > 20<<20 {
		t.Errorf("%d bytes came", n)
	}
	s.Types(t, "exit\r")
	s.WantEnd(t, r.Server, 0)
}

func TestShellEscapes(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := r.Shell(t)
	s.Types(t, "~?")
	s.Sees(t, 0, "ends the session\r\n")
	s.Does(t, `~~ 2>/dev/null; echo $((6*7))`, "42")
	if !strings.Contains(s.Seen(), "~ 2>") || strings.Contains(s.Seen(), "~~ 2>") {
		t.Errorf("the screen is %q", s.Seen())
	}
	s.Types(t, "\r~.")
	s.WantEnd(t, r.Server, 1)
	if !strings.Contains(s.Seen(), "$ \r\nssmpipe: "+rigtest.Node1+": you have left the session\r") {
		t.Errorf("the screen is %q", s.Seen())
	}

	s = r.Shell(t, "--escape-char", "^]")
	s.Does(t, "\r~.; echo $((6*7))", "42")
	s.Types(t, "\r\x1d.")
	s.WantEnd(t, r.Server, 1)

	s = r.Shell(t, "--escape-char", "none")
	s.Does(t, "\r~.; echo $((6*7))", "42")
	s.Types(t, "exit\r")
	s.WantEnd(t, r.Server, 0)
}

// TestShellFrozen: a session that does not answer is left, even behind much that
// cannot be sent.
func TestShellFrozen(t *testing.T) {
	t.Parallel()
	for name, freeze := range map[string]func(*awstest.Server){
		"agent":   func(srv *awstest.Server) { srv.StallAgent(true) },
		"channel": (*awstest.Server).BlackHole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rigtest.NewShells(t, awstest.Config{})
			s := r.Shell(t)
			freeze(r.Server)
			s.Types(t, strings.Repeat("ls -l\r", 200_000)+"\x03\r~.")
			s.WantEnd(t, r.Server, 1)
			r.StallAgent(false)
		})
	}
}

func TestShellSuspend(t *testing.T) {
	t.Parallel()
	bash := rigtest.Need(t, "bash")
	r := rigtest.NewShells(t, awstest.Config{})
	cmd := r.Command()
	cmd.Path, cmd.Args = bash, []string{"bash", "--norc", "-mc", `"$0" shell "$1"; echo sto""pped; stty -g; read go; fg; echo s=$?`, rigtest.SSMPipe, rigtest.Node1}
	s := rigtest.OnScreen(t, cmd)
	s.Sees(t, 0, "$ ")
	s.Types(t, "~\x1a")
	s.Sees(t, 0, "stopped")
	rigtest.WaitFor(t, "the shell's terminal", func() bool { return s.Modes(t) == s.Before })
	pty.Setsize(s.File, &pty.Winsize{Cols: 90, Rows: 20})
	s.Types(t, "\n")
	rigtest.WaitFor(t, "raw mode", func() bool { return s.Modes(t) != s.Before })
	s.Does(t, `until [ "$(stty size)" = "20 90" ]; do sleep .05; done; echo re"si"zed`, "resized")
	s.Types(t, "exit\r")
	s.Sees(t, 0, "s=0")
	s.WantEnd(t, r.Server, 0)
}

// TestShellCuts: what the far side says comes through, over many connections.
func TestShellCuts(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	r.CutEach(func(link int) (int64, ssmtest.Cut) { return 40_000, ssmtest.Cut(link % 3) })
	s := r.Shell(t)
	from := len(s.Seen())
	s.Does(t, `seq 1 50000; echo do""ne`, "done")
	var want strings.Builder
	for i := range 50000 {
		fmt.Fprintf(&want, "%d\r\n", i+1)
	}
	if !strings.Contains(s.Seen()[from:], want.String()) {
		t.Error("the output is not what it was")
	}
	for i := range 20 {
		s.Does(t, fmt.Sprintf("echo $((%d*7))e", i), fmt.Sprintf("%de", i*7))
	}
	s.Types(t, "exit\r")
	s.WantEnd(t, r.Server, 0)
	if n := r.Sessions()[0].Resumes(); n < 5 {
		t.Errorf("%d resumes", n)
	}
	if strings.Contains(s.Seen(), "ssmpipe") {
		t.Error("it tells of every cut")
	}
}

// TestShellOutage: one that lasts is told in one line, and its end in another.
func TestShellOutage(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := r.Shell(t)
	r.Offline(true)
	s.Types(t, "echo $((6*7))\r")
	s.Sees(t, 0, "trying again for up to 10m0s, no data is lost\r\n")
	r.Offline(false)
	s.Sees(t, 0, "reconnected after")
	s.Sees(t, 0, "42")
	s.Types(t, "exit\r")
	s.WantEnd(t, r.Server, 0)
	if n := strings.Count(s.Seen(), "ssmpipe: "); n != 2 {
		t.Errorf("%d lines: %q", n, s.Seen())
	}
}

func TestShellTimesOut(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{Config: ssmtest.Config{IdleTimeout: 8 * time.Second}}) // so many keep-alives may be late on a busy machine
	s := r.Shell(t)
	s.WantEnd(t, r.Server, 1)
	if !strings.Contains(s.Seen(), "$ \r\nssmpipe: "+rigtest.Node1+": the session was closed: Your session timed out due to inactivity; --keepalive 5m keeps an idle session alive\r") {
		t.Errorf("the screen is %q", s.Seen())
	}

	s = r.Shell(t, "--keepalive", "1s")
	session := r.Sessions()[1]
	select {
	case <-session.Done():
		t.Error("it has timed out all the same")
	case <-time.After(12 * time.Second):
	}
	session.End("the administrator wants it so")
	s.WantEnd(t, r.Server, 1)
	if !strings.Contains(s.Seen(), "the session was closed: the administrator wants it so; start it again\r") {
		t.Errorf("the screen is %q", s.Seen())
	}
}

// TestShellOldAgent: one that knows no handshake has nothing but shells.
func TestShellOldAgent(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoHandshake: true}}})
	s := r.Shell(t)
	s.Does(t, "echo $((6*7))", "42")
	s.Types(t, "exit\r")
	s.WantEnd(t, r.Server, 0)
}

// TestShellScript: what is no terminal is typed, up to its end.
func TestShellScript(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	for script, want := range map[string]string{
		"":                               "",
		"echo $((6*7))\nexit 3\n":        "42\r\n",
		"echo $((6*7))\n":                "42\r\n",
		"echo $((6*7)); exit":            "42\r\n", // no line
		"read x\nhello\necho $x-$x\n":    "hello-hello\r\n",
		strings.Repeat("echo $$\n", 500): "",
	} {
		got := rigtest.Run(t, r.Command("shell", rigtest.Node1), strings.NewReader(script))
		if got.Status != 0 || got.Stderr != "" || !bytes.Contains(got.Stdout, []byte(want)) {
			t.Errorf("%q: %+v", script, got)
		}
	}
	rigtest.NoSessions(t, r)
}

// TestShellReaderGone: nobody is there any more to see what comes.
func TestShellReaderGone(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	cmd := r.Command("shell", rigtest.Node1)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	rigtest.Start(t, cmd)
	io.ReadFull(out, make([]byte, 2))
	out.Close()
	cmd.Wait()
	in.Close()
	if cmd.ProcessState.ExitCode() != 1 || rigtest.BesideSlowEnds(stderr.String()) != "" || r.ActiveSessions() != 0 {
		t.Errorf("%v, %q, %d sessions", cmd.ProcessState, &stderr, r.ActiveSessions())
	}
}

// TestShellDocument: another document than the account's own, and its parameters.
func TestShellDocument(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	for _, parameters := range [][]string{
		{"--parameters", "command=echo a=b"},
		{"--parameters", `{"command": ["echo a=b"]}`},
		{"--parameters", `{"command": "echo a=b"}`},
	} {
		s := rigtest.OnScreen(t, r.Command(append(append([]string{"shell", "--document", "AWS-StartInteractiveCommand", "--reason", "a ticket"}, parameters...), rigtest.Node1)...))
		s.WantEnd(t, r.Server, 0)
		if s.Seen() != "a=b\r\n" {
			t.Errorf("%q shows %q", parameters, s.Seen())
		}
	}
	if reason := r.Sessions()[0].Reason(); reason != "a ticket" {
		t.Errorf("reason %q", reason)
	}
}

// TestShellRefused: what is wrong is told as everywhere, on a terminal that is
// as it was.
func TestShellRefused(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := rigtest.OnScreen(t, r.Command("shell", "--parameters", "x=y", rigtest.Node1))
	s.WantEnd(t, r.Server, 1)
	if !strings.Contains(s.Seen(), "InvalidParameters") || !strings.Contains(s.Seen(), "or --parameters") {
		t.Errorf("the screen is %q", s.Seen())
	}
	r.DenyActions("ssm:StartSession")
	s = rigtest.OnScreen(t, r.Command("shell", rigtest.Node1))
	s.WantEnd(t, r.Server, 1)
	if !strings.Contains(s.Seen(), "AccessDenied") || strings.Count(s.Seen(), "\r\n") != 1 {
		t.Errorf("the screen is %q", s.Seen())
	}
}
