package proxy_test

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

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestRemoteEnd(t *testing.T) {
	t.Parallel()
	b := newBare(t, fast)
	p := b.start(t, "--reason", "ticket 4711", node1, "2222")
	far := b.far(t)
	if s := b.Sessions()[0]; s.Reason() != "ticket 4711" || s.Parameters()["portNumber"][0] != "2222" {
		t.Errorf("started with %q %v", s.Reason(), s.Parameters())
	}
	want := random(2<<20, 1)
	go func() {
		far.Write(want)
		far.Close()
	}()
	got, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "stdout", got, want)
	p.wantEnd(t, b, 2*time.Second, 0, "")
}

// TestStdinEnd: what was read is delivered although nothing more comes, and
// the answer is still read.
func TestStdinEnd(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	slow := ssmtest.Path{Delay: 50 * time.Millisecond}
	b.SetPath(slow, slow)
	p := b.start(t, node1)
	far := b.far(t)
	want := random(300_000, 1)
	go func() {
		p.stdin.Write(want)
		p.stdin.Close()
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	equal(t, "up", got, want)
	far.Write([]byte("thank you"))
	far.Close()
	answer, _ := io.ReadAll(p.stdout)
	if string(answer) != "thank you" {
		t.Errorf("stdout %q", answer)
	}
	p.wantEnd(t, b, 2*time.Second, 0, "")
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, fault := range []string{"nothing", "black hole", "offline"} {
			t.Run(fmt.Sprint(sig, fault), func(t *testing.T) {
				b := newBare(t, ssmtest.Config{})
				p := b.start(t, node1)
				b.far(t)
				switch fault {
				case "black hole":
					b.BlackHole()
				case "offline":
					b.Offline(true)
				}
				start := time.Now()
				p.Process.Signal(sig)
				<-p.ended
				if d := time.Since(start); d > 2*time.Second+margin {
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
				p.wantEnd(t, b, 0, 1, text)
			})
		}
	}
}

// TestSignalWhileStarting: a session that nobody waits for any more is ended.
func TestSignalWhileStarting(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	b.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "StartSession" {
			close(asked)
			<-answer
		}
		return nil
	})
	p := b.start(t, node1)
	<-asked
	p.Process.Signal(syscall.SIGTERM)
	time.AfterFunc(200*time.Millisecond, func() { close(answer) })
	p.wantEnd(t, b, 2*time.Second, 1, "")
	if n := len(b.Sessions()); n != 1 {
		t.Errorf("%d sessions were started", n)
	}
}

// TestNohup: a hang-up that is ignored when we start stays so.
func TestNohup(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	cmd := exec.Command(need(t, "sh"), "-c", `trap "" HUP; exec "$0" proxy "$1"`, ssmpipe, node1)
	cmd.Env = b.env
	stdin, _ := cmd.StdinPipe()
	defer stdin.Close()
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	start(t, cmd)
	far := b.far(t)
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
	r := newSSHRig(t, ssmtest.Config{})
	cmd := r.command(t, "ssh", node1, "cat")
	stdin, _ := cmd.StdinPipe()
	defer stdin.Close()
	start(t, cmd)
	waitFor(t, "session", func() bool { return len(r.Sessions()) == 1 && r.Sessions()[0].BytesDown() > 2000 })
	children, _ := exec.Command("pgrep", "-P", fmt.Sprint(cmd.Process.Pid)).Output()
	cmd.Process.Kill()
	cmd.Wait()
	waitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
	child := strings.TrimSpace(string(children))
	waitFor(t, "end of ssmpipe", func() bool { _, err := os.Stat("/proc/" + child); return os.IsNotExist(err) || child == "" })
}

func TestPortIsClosed(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	b.listener.Close()
	p := b.start(t, node1, "2222")
	p.stdin.Write([]byte("SSH-2.0-test\r\n"))
	p.wantEnd(t, b, 2*time.Second, 1, "port 2222")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	refuse := func(operation, code, message string, times int) func(b *bare) {
		return func(b *bare) {
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
		fault func(*bare)
		args  []string
		text  string
	}{
		{"AccessDenied", refuse("StartSession", "AccessDeniedException", "User: arn:aws:iam::1:user/u is not authorized to perform: ssm:StartSession", 99),
			nil, "AccessDeniedException: User: arn:aws:iam::1:user/u is not authorized to perform: ssm:StartSession; ask for the IAM permission"},
		{"unknown node", func(*bare) {}, []string{"i-0000"}, "i-0000: TargetNotConnected: i-0000 is not connected; check that it is running"},
		{"unknown document", func(*bare) {}, []string{"--document", "My-Own", node1}, "InvalidDocument: Document with name My-Own does not exist; check --document"},
		{"control characters", refuse("StartSession", "Evil", "a\nb\x1b[31m", 99), nil, "Evil: a b [31m"},
		{"upgrade refused", func(b *bare) { b.OnUpgrade(func(int) int { return 403 }) }, nil, "ssmmessages:OpenDataChannel"},
		{"wrong key", func(b *bare) { b.SetCredentials("AKIDOTHER", "other", "") }, nil, "set them again"},
		{"no such profile", func(*bare) {}, []string{"--profile", "nobody", node1}, "nobody"},
		{"no network", func(b *bare) { b.Offline(true) }, []string{"--connect-timeout", "1s", node1}, "check the network"},
		{"agent silent", func(b *bare) { b.StallAgent(true) }, []string{"--connect-timeout", "5s", node1}, "handshake with the agent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t, ssmtest.Config{})
			tt.fault(b)
			if tt.args == nil {
				tt.args = []string{node1}
			}
			p := b.start(t, tt.args...)
			out, _ := io.ReadAll(p.stdout)
			if len(out) > 0 {
				t.Errorf("stdout %q", out)
			}
			p.wantEnd(t, b, 30*time.Second, 1, tt.text)
		})
	}
	t.Run("throttled twice", func(t *testing.T) {
		t.Parallel()
		b := newBare(t, ssmtest.Config{})
		refuse("StartSession", "ThrottlingException", "Rate exceeded", 2)(b)
		p := b.start(t, node1)
		far := b.far(t)
		far.Write([]byte("hello"))
		far.Close()
		if out, _ := io.ReadAll(p.stdout); string(out) != "hello" {
			t.Errorf("stdout %q", out)
		}
		p.wantEnd(t, b, 2*time.Second, 0, "")
		if n := b.Calls("StartSession"); n != 3 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestSessionEndsForGood(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault func(*bare)
		args  []string
		text  string
	}{
		"ended with a reason": {func(b *bare) { b.Sessions()[0].End("Ended by an administrator") }, nil, "Ended by an administrator"},
		"idle timeout":        {func(b *bare) { b.ExpireSessions() }, nil, "ServerAliveInterval"},
		"expired while cut off": {func(b *bare) {
			b.Offline(true)
			b.ExpireSessions()
			b.Offline(false)
		}, nil, "s); connect again\n"},
		"resume refused": {func(b *bare) {
			b.OnAPI(func(op string) *ssmtest.APIError {
				if op == "TerminateSession" {
					return nil
				}
				return &ssmtest.APIError{Status: 400, Code: "AccessDeniedException", Message: "not authorized to perform: ssm:" + op}
			})
			b.Cut(ssmtest.CutBye)
		}, nil, "ssm:ResumeSession"},
		"agent gone": {func(b *bare) { b.KillAgents() }, []string{"--resume-timeout", "1s"}, "the agent does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t, ssmtest.Config{})
			p := b.start(t, append(tt.args, node1)...)
			far := b.far(t)
			far.Write([]byte("hello"))
			got := make([]byte, 5)
			if _, err := io.ReadFull(p.stdout, got); err != nil {
				t.Fatal(err)
			}
			tt.fault(b)
			p.stdin.Write([]byte("anybody?"))
			if rest, _ := io.ReadAll(p.stdout); len(rest) > 0 {
				t.Errorf("stdout %q", rest)
			}
			<-p.ended
			p.wantEnd(t, b, 30*time.Second, 1, tt.text)
		})
	}
}

// TestFreshCredentials: what has run out since the start is fetched again for a
// resumption, and the upgrade is signed with it.
func TestFreshCredentials(t *testing.T) {
	t.Parallel()
	need(t, "cat")
	b := newBare(t, ssmtest.Config{})
	dir := t.TempDir()
	answer := filepath.Join(dir, "credentials")
	issue := func(key string) {
		b.SetCredentials(key, "secret-"+key, "token-"+key)
		writeFile(t, answer, fmt.Sprintf(`{"Version":1,"AccessKeyId":%q,"SecretAccessKey":"secret-%s","SessionToken":"token-%s","Expiration":%q}`,
			key, key, key, time.Now().Add(time.Second).UTC().Format(time.RFC3339)))
	}
	config := filepath.Join(dir, "config")
	writeFile(t, config, "[profile p]\nregion = us-east-1\ncredential_process = cat "+answer+"\n")
	var env []string
	for _, e := range b.env {
		if !strings.HasPrefix(e, "AWS_ACCESS_KEY") && !strings.HasPrefix(e, "AWS_SECRET") {
			env = append(env, e)
		}
	}
	b.env = append(env, "AWS_CONFIG_FILE="+config)
	issue("AKIDFIRST")
	p := b.start(t, "--profile", "p", node1)
	far := b.far(t)
	issue("AKIDSECOND")
	time.Sleep(1100 * time.Millisecond) // the first ones' life
	b.Cut(ssmtest.CutReset)
	far.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(p.stdout, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	far.Close()
	<-p.ended
	p.wantEnd(t, b, 2*time.Second, 0, "")
}

// TestNotices: a long outage is told in one line when it lasts and one when it
// is over, on stderr, and stdout carries the stream alone.
func TestNotices(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	p := b.start(t, node1)
	far := b.far(t)
	far.Write([]byte("before "))
	got := make([]byte, 7)
	io.ReadFull(p.stdout, got)
	b.Offline(true)
	time.AfterFunc(5*time.Second, func() { b.Offline(false) })
	far.Write([]byte("after"))
	rest := make([]byte, 5)
	if _, err := io.ReadFull(p.stdout, rest); err != nil || string(got)+string(rest) != "before after" {
		t.Fatalf("%q %q %v", got, rest, err)
	}
	far.Close()
	<-p.ended
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "connection lost") || !strings.Contains(lines[1], "reconnected") {
		t.Errorf("stderr %q", p.stderr.String())
	}
}

// TestVerboseKeepsSecrets: -vv tells much, but no token and no key.
func TestVerboseKeepsSecrets(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{SessionToken: "the-session-token"})
	p := b.start(t, "-vv", node1)
	far := b.far(t)
	far.Close()
	<-p.ended
	text := p.stderr.String()
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
