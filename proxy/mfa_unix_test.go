//go:build unix

package proxy_test

import (
	"bufio"
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

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestMFA: the code is asked for on the terminal, while stdin and stdout are
// the stream.
func TestMFA(t *testing.T) {
	t.Parallel()
	b := newBare(t, ssmtest.Config{})
	asked := make(chan string, 1)
	sts := startSTS(t, b, asked)
	config := filepath.Join(t.TempDir(), "config")
	writeFile(t, config, `
[profile base]
region = us-east-1
aws_access_key_id = AKIDBASE
aws_secret_access_key = base
[profile mfa]
region = us-east-1
source_profile = base
role_arn = arn:aws:iam::123456789012:role/admin
mfa_serial = arn:aws:iam::123456789012:mfa/me
`)
	var env []string
	for _, e := range b.env {
		if !strings.HasPrefix(e, "AWS_ACCESS_KEY") && !strings.HasPrefix(e, "AWS_SECRET") && !strings.HasPrefix(e, "AWS_SHARED") {
			env = append(env, e)
		}
	}
	cmd := b.command("--profile", "mfa", node1)
	cmd.Env = append(env, "AWS_CONFIG_FILE="+config, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_ENDPOINT_URL_STS="+sts)
	stdin, _ := cmd.StdinPipe()
	defer stdin.Close()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	terminal := startOnTerminal(t, cmd)
	prompt := make([]byte, 0, 200)
	reader := bufio.NewReader(terminal)
	for !bytes.HasSuffix(prompt, []byte(": ")) {
		c, err := reader.ReadByte()
		if err != nil {
			t.Fatalf("prompt %q, %v", prompt, err)
		}
		prompt = append(prompt, c)
	}
	if !strings.Contains(string(prompt), "mfa/me") {
		t.Errorf("prompt %q", prompt)
	}
	io.WriteString(terminal, "123456\n")
	far := b.far(t)
	if code := <-asked; code != "123456" {
		t.Errorf("code %q", code)
	}
	far.Write([]byte("hello"))
	far.Close()
	cmd.Wait()
	if stdout.String() != "hello" || stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
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
func startSTS(t *testing.T, b *bare, codes chan<- string) (url string) {
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
