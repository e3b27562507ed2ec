package stdio_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestRemoteEnd(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, rigtest.Fast)
	p := b.Start(t, "--reason", "ticket 4711", rigtest.Node1, "2222")
	far := b.Far(t)
	if s := b.Sessions()[0]; s.Reason() != "ticket 4711" || s.Parameters()["portNumber"][0] != "2222" {
		t.Errorf("started with %q %v", s.Reason(), s.Parameters())
	}
	want := rigtest.Random(2<<20, 1)
	go func() {
		far.Write(want)
		far.Close()
	}()
	got, err := io.ReadAll(p.Out)
	if err != nil {
		t.Fatal(err)
	}
	rigtest.Equal(t, "stdout", got, want)
	p.WantEnd(t, b, 2*time.Second, 0, "")
}

// TestStdinEnd: what was read is delivered although nothing more comes, and
// the answer is still read.
func TestStdinEnd(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	slow := ssmtest.Path{Delay: 50 * time.Millisecond}
	b.SetPath(slow, slow)
	p := b.Start(t, rigtest.Node1)
	far := b.Far(t)
	want := rigtest.Random(300_000, 1)
	go func() {
		p.In.Write(want)
		p.In.Close()
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	rigtest.Equal(t, "up", got, want)
	far.Write([]byte("thank you"))
	far.Close()
	answer, _ := io.ReadAll(p.Out)
	if string(answer) != "thank you" {
		t.Errorf("stdout %q", answer)
	}
	p.WantEnd(t, b, 2*time.Second, 0, "")
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, fault := range []string{"nothing", "black hole", "offline"} {
			t.Run(fmt.Sprint(sig, fault), func(t *testing.T) {
				b := rigtest.NewBare(t, ssmtest.Config{})
				p := b.Start(t, rigtest.Node1)
				b.Far(t)
				switch fault {
				case "black hole":
					b.BlackHole()
				case "offline":
					b.Offline(true)
				}
				start := time.Now()
				p.Process.Signal(sig)
				<-p.Ended
				if d := time.Since(start); d > 2*time.Second+rigtest.Margin {
					t.Errorf("took %v", d)
				}
				if fault == "offline" { // nobody can be told
					b.Offline(false)
					b.Sessions()[0].End("")
				}
				text := ""
				if fault == "offline" {
					text = "could not end the session"
				}
				p.WantEnd(t, b, 0, 1, text)
			})
		}
	}
}

// TestSignalWhileStarting: a session that nobody waits for any more is ended.
func TestSignalWhileStarting(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	b.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "StartSession" {
			close(asked)
			<-answer
		}
		return nil
	})
	p := b.Start(t, rigtest.Node1)
	<-asked
	p.Process.Signal(syscall.SIGTERM)
	time.AfterFunc(200*time.Millisecond, func() { close(answer) })
	p.WantEnd(t, b, 2*time.Second, 1, "")
	if n := len(b.Sessions()); n != 1 {
		t.Errorf("%d sessions were started", n)
	}
}

// TestNohup: a hang-up that is ignored when we start stays so.
func TestNohup(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	cmd := exec.Command(rigtest.Need(t, "sh"), "-c", `trap "" HUP; exec "$0" proxy "$1"`, rigtest.SSMPipe, rigtest.Node1)
	cmd.Env = b.Environ
	stdin, _ := cmd.StdinPipe()
	defer stdin.Close()
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	rigtest.Start(t, cmd)
	far := b.Far(t)
	cmd.Process.Signal(syscall.SIGHUP)
	far.Write([]byte("still here"))
	far.Close()
	cmd.Wait()
	if stdout.String() != "still here" {
		t.Errorf("stdout %q, %v", &stdout, cmd.ProcessState)
	}
}

// TestParentIsKilled: both ends of the pipes are gone.
func TestParentIsKilled(t *testing.T) {
	t.Parallel()
	r := rigtest.NewSSH(t, ssmtest.Config{})
	cmd := r.Command(t, "ssh", rigtest.Node1, "cat")
	stdin, _ := cmd.StdinPipe()
	defer stdin.Close()
	rigtest.Start(t, cmd)
	rigtest.WaitFor(t, "session", func() bool { return len(r.Sessions()) == 1 && r.Sessions()[0].BytesDown() > 2000 })
	children, _ := exec.Command("pgrep", "-P", fmt.Sprint(cmd.Process.Pid)).Output()
	cmd.Process.Kill()
	cmd.Wait()
	rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
	child := strings.TrimSpace(string(children))
	rigtest.WaitFor(t, "end of ssmpipe", func() bool { _, err := os.Stat("/proc/" + child); return os.IsNotExist(err) || child == "" })
}

func TestPortIsClosed(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	b.Listener.Close()
	p := b.Start(t, rigtest.Node1, "2222")
	p.In.Write([]byte("SSH-2.0-test\r\n"))
	p.WantEnd(t, b, 2*time.Second, 1, "port 2222")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	refuse := func(operation, code, message string, times int) func(b *rigtest.Bare) {
		return func(b *rigtest.Bare) {
			b.OnAPI(func(op string) *ssmtest.APIError {
				if op == operation && b.Calls(op) <= times {
					return &ssmtest.APIError{Status: 400, Code: code, Message: message}
				}
				return nil
			})
		}
	}
	for _, tt := range []struct {
		name  string
		fault func(*rigtest.Bare)
		args  []string
		text  string
	}{
		{"AccessDenied", refuse("StartSession", "AccessDeniedException", "User: arn:aws:iam::1:user/u is not authorized to perform: ssm:StartSession", 99),
			nil, "AccessDeniedException: User: arn:aws:iam::1:user/u is not authorized to perform: ssm:StartSession; ask for the IAM permission"},
		{"unknown node", func(*rigtest.Bare) {}, []string{"i-0000"}, "i-0000: TargetNotConnected: i-0000 is not connected; check that it is running"},
		{"unknown document", func(*rigtest.Bare) {}, []string{"--document", "My-Own", rigtest.Node1}, "InvalidDocument: Document with name My-Own does not exist; check --document"},
		{"control characters", refuse("StartSession", "Evil", "a\nb\x1b[31m", 99), nil, "Evil: a b [31m"},
		{"upgrade refused", func(b *rigtest.Bare) { b.OnUpgrade(func(int) int { return 403 }) }, nil, "ssmmessages:OpenDataChannel"},
		{"wrong key", func(b *rigtest.Bare) { b.SetCredentials("AKIDOTHER", "other", "") }, nil, "set them again"},
		{"no such profile", func(*rigtest.Bare) {}, []string{"--profile", "nobody", rigtest.Node1}, "nobody"},
		{"no network", func(b *rigtest.Bare) { b.Offline(true) }, []string{"--connect-timeout", "1s", rigtest.Node1}, "check the network"},
		{"agent silent", func(b *rigtest.Bare) { b.StallAgent(true) }, []string{"--connect-timeout", "5s", rigtest.Node1}, "handshake with the agent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := rigtest.NewBare(t, ssmtest.Config{})
			tt.fault(b)
			if tt.args == nil {
				tt.args = []string{rigtest.Node1}
			}
			p := b.Start(t, tt.args...)
			out, _ := io.ReadAll(p.Out)
			if len(out) > 0 {
				t.Errorf("stdout %q", out)
			}
			p.WantEnd(t, b, 30*time.Second, 1, tt.text)
		})
	}
	t.Run("throttled twice", func(t *testing.T) {
		t.Parallel()
		b := rigtest.NewBare(t, ssmtest.Config{})
		refuse("StartSession", "ThrottlingException", "Rate exceeded", 2)(b)
		p := b.Start(t, rigtest.Node1)
		far := b.Far(t)
		far.Write([]byte("hello"))
		far.Close()
		if out, _ := io.ReadAll(p.Out); string(out) != "hello" {
			t.Errorf("stdout %q", out)
		}
		p.WantEnd(t, b, 2*time.Second, 0, "")
		if n := b.Calls("StartSession"); n != 3 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestSessionEndsForGood(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault func(*rigtest.Bare)
		args  []string
		text  string
	}{
		"ended with a reason": {func(b *rigtest.Bare) { b.Sessions()[0].End("Ended by an administrator") }, nil, "Ended by an administrator"},
		"idle timeout":        {func(b *rigtest.Bare) { b.ExpireSessions() }, nil, "ServerAliveInterval"},
		"expired while cut off": {func(b *rigtest.Bare) {
			b.Offline(true)
			b.ExpireSessions()
			b.Offline(false)
		}, nil, "s); connect again\n"},
		"resume refused": {func(b *rigtest.Bare) {
			b.OnAPI(func(op string) *ssmtest.APIError {
				if op == "TerminateSession" {
					return nil
				}
				return &ssmtest.APIError{Status: 400, Code: "AccessDeniedException", Message: "not authorized to perform: ssm:" + op}
			})
			b.Cut(ssmtest.CutBye)
		}, nil, "ssm:ResumeSession"},
		"agent gone": {func(b *rigtest.Bare) { b.KillAgents() }, []string{"--resume-timeout", "1s"}, "the agent does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := rigtest.NewBare(t, ssmtest.Config{})
			p := b.Start(t, append(tt.args, rigtest.Node1)...)
			far := b.Far(t)
			far.Write([]byte("hello"))
			got := make([]byte, 5)
			if _, err := io.ReadFull(p.Out, got); err != nil {
				t.Fatal(err)
			}
			tt.fault(b)
			p.In.Write([]byte("anybody?"))
			if rest, _ := io.ReadAll(p.Out); len(rest) > 0 {
				t.Errorf("stdout %q", rest)
			}
			<-p.Ended
			p.WantEnd(t, b, 30*time.Second, 1, tt.text)
		})
	}
}

// TestFreshCredentials: what has run out since the start is fetched again for a
// resumption, and the upgrade is signed with it.
func TestFreshCredentials(t *testing.T) {
	t.Parallel()
	rigtest.Need(t, "cat")
	b := rigtest.NewBare(t, ssmtest.Config{})
	dir := t.TempDir()
	answer := filepath.Join(dir, "credentials")
	issue := func(key string) {
		b.SetCredentials(key, "secret-"+key, "token-"+key)
		rigtest.WriteFile(t, answer, fmt.Sprintf(`{"Version":1,"AccessKeyId":%q,"SecretAccessKey":"secret-%s","SessionToken":"token-%s","Expiration":%q}`,
			key, key, key, time.Now().Add(time.Second).UTC().Format(time.RFC3339)))
	}
	config := filepath.Join(dir, "config")
	rigtest.WriteFile(t, config, "[profile p]\nregion = us-east-1\ncredential_process = cat "+answer+"\n")
	var env []string
	for _, e := range b.Environ {
		if !strings.HasPrefix(e, "AWS_ACCESS_KEY") && !strings.HasPrefix(e, "AWS_SECRET") {
			env = append(env, e)
		}
	}
	b.Environ = append(env, "AWS_CONFIG_FILE="+config)
	issue("AKIDFIRST")
	p := b.Start(t, "--profile", "p", rigtest.Node1)
	far := b.Far(t)
	issue("AKIDSECOND")
	time.Sleep(1100 * time.Millisecond) // the first ones' life
	b.Cut(ssmtest.CutReset)
	far.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(p.Out, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	far.Close()
	<-p.Ended
	p.WantEnd(t, b, 2*time.Second, 0, "")
}

// TestNotices: a long outage is told in one line when it lasts and one when it
// is over, on stderr, and stdout carries the stream alone.
func TestNotices(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	p := b.Start(t, rigtest.Node1)
	far := b.Far(t)
	far.Write([]byte("before "))
	got := make([]byte, 7)
	io.ReadFull(p.Out, got)
	b.Offline(true)
	time.AfterFunc(5*time.Second, func() { b.Offline(false) })
	far.Write([]byte("after"))
	rest := make([]byte, 5)
	if _, err := io.ReadFull(p.Out, rest); err != nil || string(got)+string(rest) != "before after" {
		t.Fatalf("%q %q %v", got, rest, err)
	}
	far.Close()
	<-p.Ended
	lines := strings.Split(strings.TrimSpace(p.Said.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "connection lost") || !strings.Contains(lines[1], "reconnected") {
		t.Errorf("stderr %q", p.Said.String())
	}
}

// TestVerboseKeepsSecrets: -vv tells much, but no token and no key.
func TestVerboseKeepsSecrets(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{SessionToken: "the-session-token"})
	p := b.Start(t, "-vv", rigtest.Node1)
	far := b.Far(t)
	far.Close()
	<-p.Ended
	text := p.Said.String()
	if !strings.Contains(text, "handshake complete") {
		t.Errorf("stderr %q", text)
	}
	for _, env := range b.Env() {
		name, value, _ := strings.Cut(env, "=")
		if (strings.Contains(name, "SECRET") || strings.Contains(name, "TOKEN")) && value != "" && strings.Contains(text, value) {
			t.Errorf("%s is in the log", name)
		}
	}
	if strings.Contains(text, "Signature=") || strings.Contains(text, "TokenValue") {
		t.Errorf("stderr %q", text)
	}
}
