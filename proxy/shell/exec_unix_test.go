//go:build unix

package shell_test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// printArgs is a command that prints its arguments, each with a NUL behind it.
var printArgs = []string{"sh", "-c", `for a; do printf '%s\0' "$a"; done`, "sh"}

func TestExecArguments(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{Config: rigtest.Fast})
	args := []string{"", " ", "a b", `"`, `'`, `\`, `\\'"`, "$HOME", "$(id)", "`id`", "#", "#a", "a#b", "\n", "a\nb\n", "\t", "*", "?[a-z]", "~", "-n", "--",
		"é€𝄞", "\u200b\u00a0", "a=b", "!", "!!", "{a,b}", "{{ command }}", "{{{{", "|", ">x", "&", ";", "a;b", "(", "%s%d", "\x01\x7f\x1b[A", "\r", "if", strings.Repeat("x'y ", 4_000), strings.Repeat("x", 50_000)}
	want := strings.Join(args, "\x00") + "\x00"
	got := rigtest.Run(t, r.Exec(append(append([]string{"--"}, printArgs...), args...)...), nil)
	if string(got.Stdout) != want || got.Status != 0 || got.Stderr != "" {
		t.Errorf("got %.300q, want %.300q; status %d, stderr %.300q", got.Stdout, want, got.Status, got.Stderr)
	}
	for _, arg := range args {
		got := rigtest.Run(t, r.Exec(append(printArgs, arg)...), nil)
		if string(got.Stdout) != arg+"\x00" || got.Status != 0 || got.Stderr != "" {
			t.Errorf("%.100q became %.100q; status %d, stderr %.100q", arg, got.Stdout, got.Status, got.Stderr)
		}
	}
	// With -t a shell is in between, and the terminal begins lines anew.
	got = rigtest.Run(t, r.Command(append(append([]string{"exec", "-t", rigtest.Node1}, printArgs...), args...)...), nil)
	if string(got.Stdout) != strings.ReplaceAll(want, "\n", "\r\n") || got.Status != 0 || got.Stderr != "" {
		t.Errorf("with -t: got %.300q; status %d, stderr %.300q", got.Stdout, got.Status, got.Stderr)
	}
	for _, word := range []string{"a=b", "if", "no such command", "#x", "~/x", "*"} {
		got := rigtest.Run(t, r.Command("exec", "-t", rigtest.Node1, "--", word, "x"), nil)
		if !strings.Contains(string(got.Stdout), "not found") {
			t.Errorf("%q as a command: %+v", word, got)
		}
	}
	refused := rigtest.Run(t, r.Exec("echo", "\xff"), nil)
	if refused.Status != 2 || !strings.Contains(refused.Stderr, `"\xff" is not UTF-8`) {
		t.Errorf("%+v", refused)
	}
}

func TestExecStatus(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	for script, want := range map[string]int{"exit 0": 0, "exit 1": 1, "exit 42": 42, "exit 255": 255, "kill -9 $$": 255} {
		got := rigtest.Run(t, r.Exec("sh", "-c", "echo out; echo err >&2; "+script), nil)
		if got.Status != want || string(got.Stdout) != "out\n" || got.Stderr != "err\n" {
			t.Errorf("%s: %+v", script, got)
		}
	}
	s := r.Sessions()[0]
	if s.Document() != "AWS-StartNonInteractiveCommand" || len(s.Parameters()) != 2 || s.Parameters()["separateOutputStream"][0] != "true" {
		t.Errorf("started %s with %v", s.Document(), s.Parameters())
	}
	got := rigtest.Run(t, r.Exec(r.Path("none")), nil)
	if got.Status != 1 || len(got.Stdout) > 0 || !strings.Contains(got.Stderr, r.Path("none")) || strings.Contains(got.Stderr, "ssmpipe") {
		t.Errorf("a command that is not there: %+v", got)
	}
}

// TestExecStdin: the command has none, and ours is left to others.
func TestExecStdin(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	shell := exec.Command("sh", "-c", `"$0" exec "$1" cat; read line; echo "left: $line"`, rigtest.SSMPipe, rigtest.Node1)
	shell.Env = r.Environ
	if got := rigtest.Succeed(t, shell, strings.NewReader("a line\n")); string(got) != "left: a line\n" {
		t.Errorf("%q", got)
	}
}

// TestExecOutput: much of it, apart, in its order.
func TestExecOutput(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{Config: rigtest.Fast})
	rigtest.WriteFile(t, r.Path("out"), strings.Repeat("what goes to stdout, with an é\n", 170_000))
	rigtest.WriteFile(t, r.Path("err"), strings.Repeat("what goes to stderr\n", 50_000))
	got := rigtest.Run(t, r.Exec("sh", "-c", "cat out & cat err >&2; wait; exit 7"), nil)
	rigtest.Equal(t, "stdout", got.Stdout, rigtest.ReadFile(t, r.Path("out")))
	rigtest.Equal(t, "stderr", []byte(got.Stderr), rigtest.ReadFile(t, r.Path("err")))
	if got.Status != 7 {
		t.Errorf("status %d", got.Status)
	}

	// Neither waits for the other: the command goes on when a line has arrived.
	cmd := r.Exec("sh", "-c", `for i in o1 e1 o2 e2 o3 e3; do
		case $i in o*) echo $i;; *) echo $i >&2;; esac
		until [ -e $i ]; do sleep .02; done
	done`)
	var both [2]io.Reader
	both[0], _ = cmd.StdoutPipe()
	both[1], _ = cmd.StderrPipe()
	rigtest.Start(t, cmd)
	for i, want := range []string{"o1\n", "e1\n", "o2\n", "e2\n", "o3\n", "e3\n"} {
		got := make([]byte, 3)
		if _, err := io.ReadFull(both[i%2], got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		rigtest.WriteFile(t, r.Path(want[:2]), "")
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestExecCut: the command goes on, and what agents may make of a cut is told,
// once.
func TestExecCut(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	cmd := r.Exec("sh", "-c", `echo one; until [ -e go ]; do sleep .05; done; echo two; exit 3`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	rigtest.Start(t, cmd)
	if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		r.Cut(ssmtest.Cut(i))
		rigtest.WaitFor(t, "another connection", func() bool { return r.Sessions()[0].Links() == i+2 })
	}
	rigtest.WriteFile(t, r.Path("go"), "")
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 3 || string(rest) != "two\n" || r.ActiveSessions() != 0 {
		t.Errorf("status %d, %q", got, rest)
	}
	if strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), rigtest.Node1+": the connection was lost for a moment") {
		t.Errorf("stderr %q", &stderr)
	}
}

// TestExecLost: after an outage that was not overcome the line says what became
// of the session, and that the command may have gone on; that a session can be
// kept alive is no advice then.
func TestExecLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		end  bool   // the session, meanwhile
		want string // the last line, with %s for the node
	}{
		"ended meanwhile": {nil, true, `ssmpipe: %s: the session has ended while the connection was down \(for \d+s\); check what the command has done before you run it again`},
		"not in time":     {[]string{"--resume-timeout", "1s"}, false, `ssmpipe: %s: could not resume the session within \d+s: .*; check the network, and check what the command has done before you run it again; --resume-timeout sets how long to keep trying`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rigtest.NewShells(t, awstest.Config{})
			cmd := r.Command(append(append([]string{"exec"}, c.args...), rigtest.Node1, "sh", "-c", "echo one; exec sleep 1000")...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			rigtest.Start(t, cmd)
			if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			var refused atomic.Int32
			r.OnUpgrade(func(int) int { refused.Add(1); return 503 })
			r.Cut(ssmtest.CutReset)
			rigtest.WaitFor(t, "attempt to connect again", func() bool { return refused.Load() > 0 })
			if c.end {
				r.ExpireSessions() // which nobody hears
			}
			cmd.Wait()
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			want := regexp.MustCompile("^" + fmt.Sprintf(c.want, rigtest.Node1) + "$")
			if got := cmd.ProcessState.ExitCode(); got != 1 || !want.MatchString(lines[len(lines)-1]) || r.ActiveSessions() != 0 {
				t.Errorf("status %d, %d sessions, stderr %q", got, r.ActiveSessions(), lines)
			}
		})
	}
}

// TestExecReaderGone: who reads the output ends the command by going.
func TestExecReaderGone(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	for _, script := range []string{"while :; do echo y; done", "echo y; sleep 1000"} {
		cmd := r.Exec("sh", "-c", script)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		rigtest.Start(t, cmd)
		if _, err := io.ReadFull(out, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		out.Close()
		cmd.Wait()
		if cmd.ProcessState.ExitCode() != 1 || stderr.Len() > 0 || r.ActiveSessions() != 0 {
			t.Errorf("%s: %v, %q, %d sessions", script, cmd.ProcessState, &stderr, r.ActiveSessions())
		}
	}
}

// TestExecInterrupted: an interrupt ends the command, and ssmpipe as it ends
// other programs.
func TestExecInterrupted(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	for sig, want := range map[syscall.Signal]string{unix.SIGINT: "signal: interrupt", unix.SIGTERM: "exit status 1"} {
		cmd := r.Exec("sh", "-c", "echo $$; exec sleep 1000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		rigtest.Start(t, cmd)
		var far int
		if _, err := fmt.Fscan(out, &far); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Signal(sig)
		cmd.Wait()
		if got := cmd.ProcessState.String(); got != want || stderr.Len() > 0 || r.ActiveSessions() != 0 {
			t.Errorf("%v: %s, %q, %d sessions", sig, got, &stderr, r.ActiveSessions())
		}
		rigtest.WaitFor(t, "end of the command", func() bool { return unix.Kill(far, 0) != nil })
	}
}

// TestExecTerminal: -t is a terminal there, and ours for as long.
func TestExecTerminal(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	s := rigtest.OnScreen(t, r.Command("exec", "-t", rigtest.Node1, "sh", "-c", `until [ "$(stty size)" = "30 100" ]; do sleep .05; done; echo sized; read x; echo "got $x"; exit 3`))
	s.Sees(t, 0, "sized")
	s.Types(t, "héllo\r")
	s.Sees(t, 0, "got héllo")
	s.WantEnd(t, r.Server, 0)
	if d := r.Sessions()[0].Document(); d != "AWS-StartInteractiveCommand" {
		t.Errorf("started %s", d)
	}
}

// TestExecDocument: another document gets the command, and what is said.
func TestExecDocument(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	got := rigtest.Run(t, r.Command("exec", "--document", "AWS-StartNonInteractiveCommand", rigtest.Node1, "sh", "-c", "echo out; echo err >&2; exit 3"), nil)
	if got.Status != 1 || string(got.Stdout) != "out\nerr\n" || strings.Count(got.Stderr, "\n") != 1 ||
		!strings.Contains(got.Stderr, rigtest.Node1+": the agent did not report the command's exit status") {
		t.Errorf("%+v", got)
	}
	got = rigtest.Run(t, r.Command("exec", "--document", "AWS-StartNonInteractiveCommand", "--parameters", "separateOutputStream=true",
		"--parameters", "stdoutSeparatorPrefix=o:", rigtest.Node1, "sh", "-c", "echo out; echo err >&2; exit 3"), nil)
	if got.Status != 3 || string(got.Stdout) != "o:out\n" || got.Stderr != "err\n" {
		t.Errorf("%+v", got)
	}
	p := r.Sessions()
	if n := len(p[0].Parameters()); n != 1 || len(p[1].Parameters()) != 3 {
		t.Errorf("%v, %v", p[0].Parameters(), p[1].Parameters())
	}
}

func TestExecRefused(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{})
	r.Deny("AWS-StartNonInteractiveCommand")
	got := rigtest.Run(t, r.Exec("true"), nil)
	if got.Status != 1 || len(got.Stdout) > 0 || strings.Count(got.Stderr, "\n") != 1 || !strings.Contains(got.Stderr, "AccessDeniedException") {
		t.Errorf("%+v", got)
	}
	if got := rigtest.Run(t, r.Command("exec", "-t", rigtest.Node1, "true"), nil); got.Status != 0 {
		t.Errorf("-t: %+v", got)
	}
}

// TestExecEnds: what ends a session is told.
func TestExecEnds(t *testing.T) {
	t.Parallel()
	r := rigtest.NewShells(t, awstest.Config{Config: ssmtest.Config{IdleTimeout: 2e9}})
	got := rigtest.Run(t, r.Exec("sleep", "1000"), nil)
	if got.Status != 1 || !strings.Contains(got.Stderr, "timed out due to inactivity; --keepalive 5m keeps") {
		t.Errorf("%+v", got)
	}
	if got := rigtest.Run(t, r.Command("exec", "--keepalive", "1s", rigtest.Node1, "sh", "-c", "sleep 4; echo awake"), nil); string(got.Stdout) != "awake\n" || got.Status != 0 {
		t.Errorf("%+v", got)
	}
}
