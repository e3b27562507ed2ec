//go:build unix

package plugin_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestAWSShell types into a shell that aws ssm start-session has opened, through
// cuts.
func TestAWSShell(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, "")).withAWS(t)
	p := rigtest.OnScreen(t, r.aws("ssm", "start-session", "--target", rigtest.Node1))
	p.Sees(t, 0, "\nStarting session with SessionId: ")
	s := r.Sessions()[0]
	p.Types(t, "stty size; echo $((6*7))-é\r")
	p.Sees(t, 0, "30 100")
	p.Sees(t, 0, "42-é")
	for i, how := range []ssmtest.Cut{ssmtest.CutBye, ssmtest.CutAbnormal, ssmtest.CutReset} {
		r.Cut(how)
		p.Types(t, fmt.Sprintf("echo $((100+%d))\r", i))
		p.Sees(t, 0, fmt.Sprintf("%d\r\n", 100+i))
	}
	if err := pty.Setsize(p.File, &pty.Winsize{Rows: 20, Cols: 70}); err != nil {
		t.Fatal(err)
	}
	rigtest.WaitFor(t, "new size", func() bool { cols, rows := s.Size(); return cols == 70 && rows == 20 })
	p.Types(t, "sh -c 'echo sle\"\"eping; exec sleep 1000'\r")
	p.Sees(t, 0, "sleeping")
	if r.running(t) == 0 {
		t.Error("no plugin is found while there is one")
	}
	p.Types(t, "\x03") // ends the sleep, not the session
	p.Types(t, "echo $((300+33)); exit\r")
	p.Sees(t, 0, "333")
	p.Sees(t, 0, "Exiting session with sessionId: "+s.ID()+".")
	p.WantEnd(t, r.Server, 0)
	if s.Resumes() == 0 {
		t.Error("nothing was cut")
	}
	r.noneLeft(t)
}

// TestAWSShellIsLeft by the escape that AWS's plugin has as well.
func TestAWSShellIsLeft(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, "")).withAWS(t)
	p := rigtest.OnScreen(t, r.aws("ssm", "start-session", "--target", rigtest.Node1))
	p.Types(t, "echo $((6*7))\r")
	p.Sees(t, 0, "42")
	p.Types(t, "~?")
	p.Sees(t, 0, "~.")
	r.StallAgent(true) // it answers no more
	p.Types(t, "\r~.")
	p.Sees(t, 0, "Exiting session with sessionId: ")
	p.WantEnd(t, r.Server, 0)
	r.StallAgent(false)
	r.noneLeft(t)
}

// TestAWSShellPiped: neither stdin nor stdout need be a terminal.
func TestAWSShellPiped(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, "")).withAWS(t)
	got := rigtest.Run(t, r.aws("ssm", "start-session", "--target", rigtest.Node1), strings.NewReader("echo $((6*7))\n"))
	id := r.Sessions()[0].ID()
	if out := string(got.Stdout); got.Status != 0 || got.Stderr != "" || !strings.Contains(out, "\n42\r\n") ||
		!strings.HasPrefix(out, "\nStarting session with SessionId: "+id+"\n") || !strings.HasSuffix(out, "\n\nExiting session with sessionId: "+id+".\n\n") {
		t.Errorf("status %d, stdout %q, stderr %q", got.Status, out, got.Stderr)
	}
	rigtest.NoSessions(t, r)
}

// TestAWSShellInTmux: the AWS CLI in a window of tmux.
func TestAWSShellInTmux(t *testing.T) {
	t.Parallel()
	tmux := rigtest.Need(t, "tmux")
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, "")).withAWS(t)
	socket := filepath.Join(r.dir, "tmux")
	window := func(args ...string) string {
		cmd := exec.Command(tmux, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env, cmd.Dir = append(r.env, "TERM=xterm"), r.dir
		out, err := cmd.CombinedOutput()
		if err != nil && args[0] != "kill-server" && args[0] != "capture-pane" {
			t.Errorf("tmux %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	sees := func(text string) {
		t.Helper()
		rigtest.WaitFor(t, text, func() bool { return strings.Contains(window("capture-pane", "-p"), text) })
	}
	t.Cleanup(func() { window("kill-server") })
	window("new-session", "-d", "-x", "90", "-y", "30", "sh")
	window("send-keys", "stty -g > modes", "Enter", "aws ssm start-session --target "+rigtest.Node1, "Enter")
	sees("Starting session with SessionId: ")
	window("send-keys", "echo $((6*7))-$(stty size)", "Enter")
	sees("42-30 90")
	window("send-keys", "exit", "Enter")
	sees("Exiting session with sessionId: ")
	window("send-keys", `test "$(stty -g)" = "$(cat modes)" && echo as"" before`, "Enter")
	sees("as before")
	rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
}

// TestPluginShellEnds: the terminal is put right on every way out, and the
// service's reason is told.
func TestPluginShellEnds(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, ""))
		p := rigtest.OnScreen(t, r.plugin(r.begin(t, shellDocument, nil)...))
		p.Types(t, "echo $((6*7))\r")
		p.Sees(t, 0, "42\r\n")
		p.Cmd.Process.Signal(sig)
		p.WantEnd(t, r.Server, 0)
	}
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, ""))
	p := rigtest.OnScreen(t, r.plugin(r.begin(t, shellDocument, nil)...))
	p.Types(t, "echo $((6*7))\r")
	p.Sees(t, 0, "42\r\n")
	s := r.Sessions()[0]
	s.End("Your session timed out due to inactivity.")
	p.Sees(t, 0, "SessionId: "+s.ID()+" : Your session timed out due to inactivity.")
	p.WantEnd(t, r.Server, 1)
	if strings.Contains(p.Seen(), "--keepalive") {
		t.Errorf("an option is advised that there is not: %q", p.Seen())
	}
}

// TestPluginOldShell: an agent that knows no handshake has a shell.
func TestPluginOldShell(t *testing.T) {
	t.Parallel()
	old := rigtest.Fast
	old.Agent.NoHandshake = true
	r := newPluginRig(t, rigtest.Service(t, old, ""))
	p := rigtest.OnScreen(t, r.plugin(r.begin(t, shellDocument, nil)[:3]...))
	p.Types(t, "echo $((6*7)); exit\r")
	p.Sees(t, 0, "42\r\n")
	p.WantEnd(t, r.Server, 0)
}

// TestPluginEncryption: a session is encrypted where the account wants it. An
// AWS CLI that does not tell the target cannot have that.
func TestPluginEncryption(t *testing.T) {
	t.Parallel()
	cfg := awstest.Config{Config: rigtest.Fast}
	cfg.Preferences = `{"inputs": {"kmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}}`
	r := newPluginRig(t, rigtest.ServiceWith(t, cfg, ""))
	p := rigtest.OnScreen(t, r.plugin(r.begin(t, shellDocument, nil)...))
	p.Sees(t, 0, "This session is encrypted using AWS KMS.")
	p.Types(t, "echo $((6*7)); exit\r")
	p.Sees(t, 0, "42\r\n")
	p.WantEnd(t, r.Server, 0)
	got := rigtest.Run(t, r.plugin(r.begin(t, shellDocument, nil)[:3]...), nil)
	if got.Status != 1 || !strings.Contains(got.Stderr, "the AWS CLI is too old") {
		t.Errorf("%+v", got)
	}
	rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
}

// TestPluginCommand: what a command writes is on stdout, and what tells its exit
// status, as from AWS's plugin.
func TestPluginCommand(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, ""))
	command := map[string][]string{"command": {`sh -c 'echo out; echo err >&2; exit 7'`}, "separateOutputStream": {"true"}}
	got := rigtest.Run(t, r.plugin(r.begin(t, "AWS-StartNonInteractiveCommand", command)...), strings.NewReader("nobody reads this"))
	id := r.Sessions()[0].ID()
	frame := "\nStarting session with SessionId: " + id + "\n%sEXIT_CODE: 7\n\nExiting session with sessionId: " + id + ".\n\n"
	either := []string{fmt.Sprintf(frame, "out\nerr\n"), fmt.Sprintf(frame, "err\nout\n")} // the agent reads two pipes
	if got.Status != 0 || !slices.Contains(either, string(got.Stdout)) || got.Stderr != "" {
		t.Errorf("status %d, stdout %q, stderr %q", got.Status, got.Stdout, got.Stderr)
	}
	delete(command, "separateOutputStream")
	got = rigtest.Run(t, r.plugin(r.begin(t, "AWS-StartNonInteractiveCommand", command)...), nil)
	if got.Status != 0 || !strings.Contains(string(got.Stdout), "out\n") || got.Stderr != "" {
		t.Errorf("not apart: status %d, stdout %q, stderr %q", got.Status, got.Stdout, got.Stderr)
	}
	p := rigtest.OnScreen(t, r.plugin(r.begin(t, "AWS-StartInteractiveCommand", map[string][]string{"command": {"read x; echo $x-$(stty size)"}})...))
	p.Types(t, "hello\r")
	p.Sees(t, 0, "hello-30 100")
	p.WantEnd(t, r.Server, 0)
}

// TestAWSExecuteCommand: ECS Exec by the AWS CLI, through a cut.
func TestAWSExecuteCommand(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, "")).withAWS(t)
	r.AddTask(awstest.Task{Cluster: "web", ID: "0123456789abcdef0123456789abcdef", Containers: []awstest.Container{{Name: "app"}, {Name: "side"}}})
	p := rigtest.OnScreen(t, r.aws("ecs", "execute-command", "--cluster", "web", "--task", "0123456789abcdef0123456789abcdef",
		"--container", "app", "--interactive", "--command", `sh -c 'read x; echo "$x-$((6*7))"; read y; echo "$y"-end'`))
	p.Sees(t, 0, "The Session Manager plugin was installed successfully.") // the AWS CLI looks for it
	p.Sees(t, 0, "\nStarting session with SessionId: ")
	p.Types(t, "hello\r")
	p.Sees(t, 0, "hello-42")
	r.Cut(ssmtest.CutReset)
	p.Types(t, "bye\r")
	p.Sees(t, 0, "bye-end")
	p.WantEnd(t, r.Server, 0)
	if s := r.Sessions()[0]; s.Resumes() == 0 {
		t.Error("nothing was cut")
	}
	r.noneLeft(t)
}

const shellDocument = "SSM-SessionManagerRunShell"
