//go:build unix

package aws_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// withoutKeys is env without the service's credentials.
func withoutKeys(env []string) (rest []string) {
	for _, e := range env {
		if !strings.HasPrefix(e, "AWS_ACCESS_KEY") && !strings.HasPrefix(e, "AWS_SECRET") && !strings.HasPrefix(e, "AWS_SESSION") {
			rest = append(rest, e)
		}
	}
	return rest
}

// withHelper is env with a profile whose credential_process is a script. To the
// credentials that srv takes, which $JSON is, it adds an expiration that is over
// at once, so that it runs for each call.
func withHelper(t testing.TB, srv *awstest.Server, env []string, script, more string) []string {
	t.Helper()
	dir := t.TempDir()
	key := rigtest.AWSConfig(srv).Credentials
	creds, err := key.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	json := fmt.Sprintf(`{"Version":1,"AccessKeyId":%q,"SecretAccessKey":%q,"SessionToken":"","Expiration":"2020-01-01T00:00:00Z"}`, creds.AccessKeyID, creds.SecretAccessKey)
	rigtest.WriteFile(t, filepath.Join(dir, "helper"), script)
	rigtest.WriteFile(t, filepath.Join(dir, "config"), "[profile p]\nregion = us-east-1\ncredential_process = sh "+dir+"/helper the-helpers-argument\n"+more)
	return append(withoutKeys(env), "JSON="+json, "AWS_CONFIG_FILE="+dir+"/config", "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_PROFILE=p", "RUNS="+dir+"/runs")
}

// greedy takes all the stdin that it can get.
const greedy = `timeout 0.3 cat >/dev/null; echo >>"$RUNS"; echo "$JSON"`

// TestHelperLeavesSSHsStream: a credential_process that reads its stdin takes
// nothing of what ssh sends, at the start and while an upload goes on.
func TestHelperLeavesSSHsStream(t *testing.T) {
	t.Parallel()
	rigtest.Need(t, "timeout")
	r := rigtest.NewSSH(t, rigtest.Fast)
	r.Environ = withHelper(t, r.Server, r.Environ, greedy, "")
	r.CutEach(func(link int) (int64, ssmtest.Cut) {
		if link > 2 {
			return -1, 0
		}
		return 2 << 20, ssmtest.CutReset
	})
	want := rigtest.Random(8<<20, 5)
	rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "cat > "+r.Dir+"/up"), bytes.NewReader(want))
	rigtest.Equal(t, "up", rigtest.ReadFile(t, filepath.Join(r.Dir, "up")), want)
	for _, e := range r.Environ {
		if runs, ok := strings.CutPrefix(e, "RUNS="); ok {
			if n := len(rigtest.ReadFile(t, runs)); n < 4 {
				t.Errorf("the helper ran %d times", n)
			}
		}
	}
}

// TestHelperLeavesStdin: nor does it in other commands, or behind a role.
func TestHelperLeavesStdin(t *testing.T) {
	t.Parallel()
	rigtest.Need(t, "timeout")
	t.Run("exec in a loop", func(t *testing.T) {
		t.Parallel()
		r := rigtest.NewShells(t, awstest.Config{})
		cmd := exec.Command("sh", "-c", `while read host; do "$0" exec "$host" echo "$host" </dev/stdin; done`, rigtest.SSMPipe)
		cmd.Env = withHelper(t, r.Server, r.Environ, greedy, "")
		if got := rigtest.Succeed(t, cmd, strings.NewReader(strings.Repeat(rigtest.Node1+"\n", 3))); string(got) != strings.Repeat(rigtest.Node1+"\n", 3) {
			t.Errorf("%q", got)
		}
	})
	for _, args := range [][]string{{"ls"}, {"sessions"}, {"doctor", rigtest.Node1}} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			r := rigtest.NewShells(t, awstest.Config{})
			cmd := exec.Command("sh", "-c", `"$0" "$@" >/dev/null; cat`, rigtest.SSMPipe)
			cmd.Args = append(cmd.Args, args...)
			cmd.Env = withHelper(t, r.Server, r.Environ, greedy, "")
			if got := rigtest.Run(t, cmd, strings.NewReader("left")); string(got.Stdout) != "left" {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("role", func(t *testing.T) {
		t.Parallel()
		b := rigtest.NewBare(t, ssmtest.Config{})
		codes := make(chan string, 20)
		sts := startSTS(t, b, codes)
		b.Environ = withHelper(t, b.Server, b.Environ, greedy, "[profile role]\nregion = us-east-1\nsource_profile = p\nrole_arn = arn:aws:iam::123456789012:role/admin\n")
		b.Environ = append(b.Environ, "AWS_ENDPOINT_URL_STS="+sts)
		p := b.Start(t, "--profile", "role", rigtest.Node1)
		p.In.Write([]byte("for the machine"))
		far := b.Far(t)
		got := make([]byte, 15)
		if _, err := far.Read(got); err != nil || string(got) != "for the machine" {
			t.Errorf("%q, %v", got, err)
		}
		far.Close()
		<-p.Ended
		p.WantEnd(t, b, 2*time.Second, 0, "")
	})
}

// TestHelperHasTheTerminal: it can ask there.
func TestHelperHasTheTerminal(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	b.Environ = withHelper(t, b.Server, b.Environ, `printf 'Code: ' >&2; read code; test "$code" = 123456 && echo "$JSON"`, "")
	b.Environ = append(b.Environ, strings.Replace(envValue(b.Environ, "JSON"), "2020-", "2099-", 1)) // it is asked once
	cmd := b.Command(rigtest.Node1)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	terminal := startOnTerminal(t, cmd)
	terminal.WriteString("123456\n")
	far := b.Far(t)
	far.Write([]byte("hello"))
	far.Close()
	if err := cmd.Wait(); err != nil || stdout.String() != "hello" {
		t.Errorf("%q, %v", &stdout, err)
	}
}

// envValue is what env says last for a name, with the name.
func envValue(env []string, name string) (last string) {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			last = e
		}
	}
	return last
}

// TestSlowHelper: the limit for connecting does not run while the helper does.
func TestSlowHelper(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	dir := t.TempDir()
	b.Environ = withHelper(t, b.Server, b.Environ, `test -e `+dir+`/asked || sleep 6; touch `+dir+`/asked; echo "$JSON"`, "")
	p := b.Start(t, "--connect-timeout", "5s", rigtest.Node1)
	far := b.Far(t)
	far.Write([]byte("hello"))
	far.Close()
	<-p.Ended
	p.WantEnd(t, b, 2*time.Second, 0, "")
}

// TestHelperEndsWithUs: a signal ends the helper too.
func TestHelperEndsWithUs(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	pid := filepath.Join(t.TempDir(), "pid")
	b.Environ = withHelper(t, b.Server, b.Environ, `echo $$ >`+pid+`.new; mv `+pid+`.new `+pid+`; exec sleep 1000`, "")
	p := b.Start(t, rigtest.Node1)
	rigtest.WaitFor(t, "helper", func() bool { _, err := os.Stat(pid); return err == nil })
	p.Process.Signal(syscall.SIGTERM)
	p.WantEnd(t, b, 3*time.Second, 1, "")
	var n int
	fmt.Sscan(string(rigtest.ReadFile(t, pid)), &n)
	rigtest.WaitFor(t, "end of the helper", func() bool { return syscall.Kill(n, 0) != nil })
}

// TestRenewedKeys: temporary keys in a file do not say when they expire. What
// somebody writes there when they have is used by what goes on: a session that
// must be resumed, and a forward that starts another.
func TestRenewedKeys(t *testing.T) {
	t.Parallel()
	withFile := func(t *testing.T, srv *awstest.Server, env []string) (_ []string, issue func(key string)) {
		file := filepath.Join(t.TempDir(), "credentials")
		issue = func(key string) {
			srv.SetCredentials(key, "secret-of-"+key, "token-of-"+key)
			rigtest.WriteFile(t, file, fmt.Sprintf("[default]\naws_access_key_id = %[1]s\naws_secret_access_key = secret-of-%[1]s\naws_session_token = token-of-%[1]s\n", key))
		}
		issue("AKIDFIRST")
		return append(withoutKeys(env), "AWS_SHARED_CREDENTIALS_FILE="+file, "AWS_CONFIG_FILE="+os.DevNull), issue
	}
	t.Run("resume", func(t *testing.T) {
		t.Parallel()
		b := rigtest.NewBare(t, ssmtest.Config{})
		var issue func(string)
		b.Environ, issue = withFile(t, b.Server, b.Environ)
		p := b.Start(t, rigtest.Node1)
		far := b.Far(t)
		b.SetCredentials("AKIDSECOND", "secret-of-AKIDSECOND", "token-of-AKIDSECOND") // the first are good for nothing
		b.Cut(ssmtest.CutReset)
		rigtest.WaitFor(t, "a resumption that is refused", func() bool { return b.Calls("ResumeSession") > 0 })
		issue("AKIDSECOND")
		far.Write([]byte("hello"))
		got := make([]byte, 5)
		if _, err := io.ReadFull(p.Out, got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		far.Close()
		<-p.Ended
		if status := p.ProcessState.ExitCode(); status != 0 {
			t.Errorf("status %d, %s", status, p.Said.String())
		}
	})
	t.Run("new sessions", func(t *testing.T) {
		t.Parallel()
		b := rigtest.NewBare(t, ssmtest.Config{})
		var issue func(string)
		b.Environ, issue = withFile(t, b.Server, b.Environ)
		local := rigtest.FreePort(t)
		cmd := exec.Command(rigtest.SSMPipe, "forward", "-L", local+":web.internal:80", rigtest.Node1)
		cmd.Env = b.Environ
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Signal(syscall.SIGTERM)
		reaches := func() bool {
			c, err := net.Dial("tcp", local)
			if err != nil {
				return false
			}
			defer c.Close()
			io.WriteString(c, "hello")
			c.SetDeadline(time.Now().Add(5 * time.Second))
			select {
			case far := <-b.Accepted:
				far.Close()
				return true
			case <-time.After(5 * time.Second):
				return false
			}
		}
		rigtest.WaitFor(t, "the forward", reaches)
		issue("AKIDSECOND")
		for _, s := range b.Sessions() {
			s.End("by an administrator")
		}
		rigtest.WaitFor(t, "another session", reaches)
	})
}
