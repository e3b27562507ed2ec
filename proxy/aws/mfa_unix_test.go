//go:build unix

package aws_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestMFA: the code is asked for on the terminal, while stdin and stdout are
// the stream.
func TestMFA(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	asked := make(chan string, 1)
	cmd, terminal, stdout, stderr := startMFA(t, b, asked)
	io.WriteString(terminal, "123456\n")
	far := b.Far(t)
	if code := <-asked; code != "123456" {
		t.Errorf("code %q", code)
	}
	far.Write([]byte("hello"))
	far.Close()
	cmd.Wait()
	if stdout.String() != "hello" || stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
}

// TestMFAInterrupted: the terminal shows again what is typed.
func TestMFAInterrupted(t *testing.T) {
	t.Parallel()
	for _, signals := range [][]os.Signal{{os.Interrupt}, {os.Interrupt, syscall.SIGTERM}} {
		b := rigtest.NewBare(t, ssmtest.Config{})
		cmd, terminal, _, _ := startMFA(t, b, make(chan string, 1))
		echoes := func() bool {
			state, err := unix.IoctlGetTermios(int(terminal.Fd()), ioctlGetTermios)
			return err == nil && state.Lflag&unix.ECHO != 0
		}
		rigtest.WaitFor(t, "silent prompt", func() bool { return !echoes() })
		for _, sig := range signals {
			cmd.Process.Signal(sig)
		}
		cmd.Wait()
		if !echoes() {
			t.Errorf("%v: the terminal's echo is off", signals)
		}
		if n := len(b.Sessions()); n != 0 {
			t.Errorf("%v: %d sessions", signals, n)
		}
	}
}

// TestSilentSTS: what hangs before the session counts too.
func TestSilentSTS(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b.Environ = append(b.Environ, mfaEnvironment(t, "http://"+l.Addr().String())...)
	p := b.Start(t, "--profile", "role", "--connect-timeout", "500ms", rigtest.Node1)
	p.WantEnd(t, b, 2*time.Second, 1, "timed out after 500ms")
}

// mfaEnvironment has profiles that assume a role, with a code and without.
func mfaEnvironment(t *testing.T, sts string) []string {
	config := filepath.Join(t.TempDir(), "config")
	rigtest.WriteFile(t, config, `
[profile base]
region = us-east-1
aws_access_key_id = AKIDBASE
aws_secret_access_key = base
[profile role]
region = us-east-1
source_profile = base
role_arn = arn:aws:iam::123456789012:role/admin
[profile mfa]
region = us-east-1
source_profile = base
role_arn = arn:aws:iam::123456789012:role/admin
mfa_serial = arn:aws:iam::123456789012:mfa/me
`)
	return []string{"AWS_CONFIG_FILE=" + config, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_ENDPOINT_URL_STS=" + sts}
}

// startMFA starts ssmpipe with a profile that needs a code, and returns once
// it asks for it on the terminal.
func startMFA(t *testing.T, b *rigtest.Bare, asked chan string) (cmd *exec.Cmd, terminal *os.File, stdout, stderr *bytes.Buffer) {
	t.Helper()
	var env []string
	sts := startSTS(t, b, asked)
	for _, e := range b.Environ {
		if !strings.HasPrefix(e, "AWS_ACCESS_KEY") && !strings.HasPrefix(e, "AWS_SECRET") {
			env = append(env, e)
		}
	}
	cmd = b.Command("--profile", "mfa", rigtest.Node1)
	cmd.Env = append(env, mfaEnvironment(t, sts)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	terminal = startOnTerminal(t, cmd)
	var prompt []byte
	for b := make([]byte, 1); !bytes.HasSuffix(prompt, []byte(": ")); prompt = append(prompt, b[0]) {
		if _, err := terminal.Read(b); err != nil {
			t.Fatalf("prompt %q, %v", prompt, err)
		}
	}
	if !strings.Contains(string(prompt), "mfa/me") {
		t.Errorf("prompt %q", prompt)
	}
	return cmd, terminal, stdout, stderr
}

// startOnTerminal starts cmd with a controlling terminal that is none of its
// standard files, and returns the other end.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	t.Cleanup(func() { cmd.Process.Kill() })
	return ours
}

// startSTS answers AssumeRole with the credentials that b takes.
func startSTS(t *testing.T, b *rigtest.Bare, codes chan<- string) (url string) {
	var key, secret string
	for _, e := range b.Env() {
		name, value, _ := strings.Cut(e, "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			key = value
		case "AWS_SECRET_ACCESS_KEY":
			secret = value
		}
	}
	b.SetCredentials(key, secret, "role-token")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		codes <- r.Form.Get("TokenCode")
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>role-token</SessionToken><Expiration>%s</Expiration>
</Credentials><AssumedRoleUser><Arn>arn</Arn><AssumedRoleId>id</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>`,
			key, secret, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}
