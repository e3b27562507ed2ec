//go:build unix

package proxy_test

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
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestShell(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	s := r.shell(t)
	s.does(t, "stty size", "30 100")
	if err := pty.Setsize(s.File, &pty.Winsize{Cols: 111, Rows: 44}); err != nil {
		t.Fatal(err)
	}
	s.does(t, `until [ "$(stty size)" = "44 111" ]; do sleep .05; done; echo re"si"zed`, "resized")
	s.does(t, "echo $((6*7))-é€𝄞", "42-é€𝄞")
	s.does(t, "pwd", r.home)
	s.does(t, "exit", "exit\r\n")
	s.wantEnd(t, r.Server, 0)
	if text := s.seen(); strings.Contains(text, "ssmpipe") || !strings.HasSuffix(text, "exit\r\n") {
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
	r := newShellRig(t, awstest.Config{})
	s := r.shell(t)
	s.does(t, `sh -c 'trap "echo g""ot it" INT; echo re""ady; while :; do sleep .02; done'`, "ready")
	s.types(t, "\x03")
	s.sees(t, 0, "got it")
	s.types(t, "\x1c") // SIGQUIT, of which it dies
	s.does(t, `echo o"ver"`, "over")
	s.does(t, "set -m; sh -c 'echo go\"\"ing; exec sleep 1000'", "going")
	s.types(t, "\x1a")
	s.does(t, "jobs", "Stopped")
	s.does(t, `kill -KILL %1; wait; echo en"ded"`, "ended")
	s.types(t, "exit\rexit\r") // the first is not heard if the job is still there
	s.wantEnd(t, r.Server, 0)
}

// TestShellEndsBySignal: the terminal is given back, and the session is ended.
func TestShellEndsBySignal(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			r := newShellRig(t, awstest.Config{})
			s := r.shell(t)
			s.cmd.Process.Signal(sig)
			s.wantEnd(t, r.Server, 1)
			if strings.Contains(s.seen(), "goroutine") {
				t.Errorf("it has crashed: %q", s.seen())
			}
		})
	}
}

// TestShellTerminalGone: a window that is closed ends the session.
func TestShellTerminalGone(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	s := r.shell(t)
	s.hangUp()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("still running")
	}
	if n := r.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions linger in the account", n)
	}
}

// farReader has the far side read n bytes as they are into a file.
func farReader(t *testing.T, s *screen, n int, file string) {
	t.Helper()
	s.does(t, fmt.Sprintf(`stty raw -echo; echo re""ady; head -c %d >%s; stty sane; echo do""ne`, n, file), "ready")
}

func TestShellPaste(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	s := r.shell(t)
	var want []byte
	for i := 0; len(want) < 1<<20; i++ {
		want = fmt.Appendf(want, "line %d of what is pasted, with ~. and \x1b[A and äöü\r", i)
	}
	farReader(t, s, len(want), "paste")
	from := len(s.seen())
	s.types(t, string(want))
	s.sees(t, from, "done")
	equal(t, "paste", readFile(t, r.path("paste")), want)

	// Where the terminal says what is pasted, there is no escape in it.
	marked := "\x1b[200~a\r~.\r~~b\r\x1b[201~"
	farReader(t, s, len(marked), "marked")
	s.types(t, marked)
	s.sees(t, len(s.seen())-10, "done")
	if got := readFile(t, r.path("marked")); string(got) != marked {
		t.Errorf("marked: %q", got)
	}
	s.types(t, "exit\r")
	s.wantEnd(t, r.Server, 0)
}

// TestShellInterrupt: Ctrl-C does not wait for the output before it.
func TestShellInterrupt(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	s := r.shell(t)
	s.types(t, "yes | head -c 50M\r")
	s.sees(t, 0, "y\r\ny\r\n")
	s.types(t, "\x03")
	s.does(t, "echo $((6*7))", "42")
	if n := len(s.seen()); n > 20<<20 {
		t.Errorf("%d bytes came", n)
	}
	s.types(t, "exit\r")
	s.wantEnd(t, r.Server, 0)
}

func TestShellEscapes(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	s := r.shell(t)
	s.types(t, "~?")
	s.sees(t, 0, "ends the session\r\n")
	s.does(t, `~~ 2>/dev/null; echo $((6*7))`, "42")
	if !strings.Contains(s.seen(), "~ 2>") || strings.Contains(s.seen(), "~~ 2>") {
		t.Errorf("the screen is %q", s.seen())
	}
	s.types(t, "\r~.")
	s.wantEnd(t, r.Server, 1)
	if !strings.Contains(s.seen(), "$ \r\nssmpipe: "+node1+": you have left the session\r") {
		t.Errorf("the screen is %q", s.seen())
	}

	s = r.shell(t, "--escape-char", "^]")
	s.does(t, "\r~.; echo $((6*7))", "42")
	s.types(t, "\r\x1d.")
	s.wantEnd(t, r.Server, 1)

	s = r.shell(t, "--escape-char", "none")
	s.does(t, "\r~.; echo $((6*7))", "42")
	s.types(t, "exit\r")
	s.wantEnd(t, r.Server, 0)
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
			r := newShellRig(t, awstest.Config{})
			s := r.shell(t)
			freeze(r.Server)
			s.types(t, strings.Repeat("ls -l\r", 200_000)+"\x03\r~.")
			s.wantEnd(t, r.Server, 1)
			r.StallAgent(false)
		})
	}
}

func TestShellSuspend(t *testing.T) {
	t.Parallel()
	bash := need(t, "bash")
	r := newShellRig(t, awstest.Config{})
	cmd := r.command()
	cmd.Path, cmd.Args = bash, []string{"bash", "--norc", "-mc", `"$0" shell "$1"; echo sto""pped; stty -g; read go; fg; echo s=$?`, ssmpipe, node1}
	s := onScreen(t, cmd)
	s.sees(t, 0, "$ ")
	s.types(t, "~\x1a")
	s.sees(t, 0, "stopped")
	waitFor(t, "the shell's terminal", func() bool { return s.modes(t) == s.before })
	pty.Setsize(s.File, &pty.Winsize{Cols: 90, Rows: 20})
	s.types(t, "\n")
	waitFor(t, "raw mode", func() bool { return s.modes(t) != s.before })
	s.does(t, `until [ "$(stty size)" = "20 90" ]; do sleep .05; done; echo re"si"zed`, "resized")
	s.types(t, "exit\r")
	s.sees(t, 0, "s=0")
	s.wantEnd(t, r.Server, 0)
}

// TestShellCuts: what the far side says comes through, over many connections.
func TestShellCuts(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	r.CutEach(func(link int) (int64, ssmtest.Cut) { return 40_000, ssmtest.Cut(link % 3) })
	s := r.shell(t)
	from := len(s.seen())
	s.does(t, `seq 1 50000; echo do""ne`, "done")
	var want strings.Builder
	for i := range 50000 {
		fmt.Fprintf(&want, "%d\r\n", i+1)
	}
	if !strings.Contains(s.seen()[from:], want.String()) {
		t.Error("the output is not what it was")
	}
	for i := range 20 {
		s.does(t, fmt.Sprintf("echo $((%d*7))e", i), fmt.Sprintf("%de", i*7))
	}
	s.types(t, "exit\r")
	s.wantEnd(t, r.Server, 0)
	if n := r.Sessions()[0].Resumes(); n < 5 {
		t.Errorf("%d resumes", n)
	}
	if strings.Contains(s.seen(), "ssmpipe") {
		t.Error("it tells of every cut")
	}
}

// TestShellOutage: one that lasts is told in one line, and its end in another.
func TestShellOutage(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	s := r.shell(t)
	r.Offline(true)
	s.types(t, "echo $((6*7))\r")
	s.sees(t, 0, "trying again for up to 10m0s, nothing is lost\r\n")
	r.Offline(false)
	s.sees(t, 0, "connected again after")
	s.sees(t, 0, "42")
	s.types(t, "exit\r")
	s.wantEnd(t, r.Server, 0)
	if n := strings.Count(s.seen(), "ssmpipe: "); n != 2 {
		t.Errorf("%d lines: %q", n, s.seen())
	}
}

func TestShellTimesOut(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{Config: ssmtest.Config{IdleTimeout: 8 * time.Second}}) // so many keep-alives may be late on a busy machine
	s := r.shell(t)
	s.wantEnd(t, r.Server, 1)
	if !strings.Contains(s.seen(), "$ \r\nssmpipe: "+node1+": the session was closed: Your session timed out due to inactivity; --keepalive 5m keeps a session alive in which nothing happens\r") {
		t.Errorf("the screen is %q", s.seen())
	}

	s = r.shell(t, "--keepalive", "1s")
	session := r.Sessions()[1]
	select {
	case <-session.Done():
		t.Error("it has timed out all the same")
	case <-time.After(12 * time.Second):
	}
	session.End("the administrator wants it so")
	s.wantEnd(t, r.Server, 1)
	if !strings.Contains(s.seen(), "the session was closed: the administrator wants it so; start it again\r") {
		t.Errorf("the screen is %q", s.seen())
	}
}

// TestShellOldAgent: one that knows no handshake has nothing but shells.
func TestShellOldAgent(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoHandshake: true}}})
	s := r.shell(t)
	s.does(t, "echo $((6*7))", "42")
	s.types(t, "exit\r")
	s.wantEnd(t, r.Server, 0)
}

// TestShellScript: what is no terminal is typed, up to its end.
func TestShellScript(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	for script, want := range map[string]string{
		"":                               "",
		"echo $((6*7))\nexit 3\n":        "42\r\n",
		"echo $((6*7))\n":                "42\r\n",
		"echo $((6*7)); exit":            "42\r\n", // no line
		"read x\nhello\necho $x-$x\n":    "hello-hello\r\n",
		strings.Repeat("echo $$\n", 500): "",
	} {
		got := run(t, r.command("shell", node1), strings.NewReader(script))
		if got.status != 0 || got.stderr != "" || !bytes.Contains(got.stdout, []byte(want)) {
			t.Errorf("%q: %+v", script, got)
		}
	}
	if n := r.ActiveSessions(); n != 0 {
		t.Errorf("%d sessions linger in the account", n)
	}
}

// TestShellReaderGone: nobody is there any more to see what comes.
func TestShellReaderGone(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	cmd := r.command("shell", node1)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start(t, cmd)
	io.ReadFull(out, make([]byte, 2))
	out.Close()
	cmd.Wait()
	in.Close()
	if cmd.ProcessState.ExitCode() != 1 || besideSlowEnds(stderr.String()) != "" || r.ActiveSessions() != 0 {
		t.Errorf("%v, %q, %d sessions", cmd.ProcessState, &stderr, r.ActiveSessions())
	}
}

// TestShellDocument: another document than the account's own, and its parameters.
func TestShellDocument(t *testing.T) {
	t.Parallel()
	r := newShellRig(t, awstest.Config{})
	for _, parameters := range [][]string{
		{"--parameters", "command=echo a=b"},
		{"--parameters", `{"command": ["echo a=b"]}`},
		{"--parameters", `{"command": "echo a=b"}`},
	} {
		s := onScreen(t, r.command(append(append([]string{"shell", "--document", "AWS-StartInteractiveCommand", "--reason", "a ticket"}, parameters...), node1)...))
		s.wantEnd(t, r.Server, 0)
		if s.seen() != "a=b\r\n" {
			t.Errorf("%q shows %q", parameters, s.seen())
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
	r := newShellRig(t, awstest.Config{})
	s := onScreen(t, r.command("shell", "--parameters", "x=y", node1))
	s.wantEnd(t, r.Server, 1)
	if !strings.Contains(s.seen(), "InvalidParameters") || !strings.Contains(s.seen(), "or --parameters") {
		t.Errorf("the screen is %q", s.seen())
	}
	r.DenyActions("ssm:StartSession")
	s = onScreen(t, r.command("shell", node1))
	s.wantEnd(t, r.Server, 1)
	if !strings.Contains(s.seen(), "AccessDenied") || strings.Count(s.seen(), "\r\n") != 1 {
		t.Errorf("the screen is %q", s.seen())
	}
}
