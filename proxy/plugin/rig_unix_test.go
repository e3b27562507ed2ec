//go:build unix

package plugin_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// pluginRig is a service, and ssmpipe as the AWS CLI's plugin.
type pluginRig struct {
	*awstest.Server
	env []string // in which the plugin is first on PATH, then aws with the service's address
	dir string
}

func newPluginRig(t testing.TB, srv *awstest.Server) *pluginRig {
	t.Helper()
	r := &pluginRig{Server: srv, dir: t.TempDir()}
	if err := os.Symlink(rigtest.SSMPipe, filepath.Join(r.dir, "session-manager-plugin")); err != nil {
		t.Fatal(err)
	}
	r.env = append(rigtest.Environ(t, srv), "PATH="+r.dir+":"+os.Getenv("PATH"), "HOME="+r.dir, "AWS_PAGER=", "AWS_DEFAULT_REGION=us-east-1")
	return r
}

// withAWS puts Debian's AWS CLI on the rig's PATH. That version does not know of
// endpoints in the environment, so it is told on the command line.
func (r *pluginRig) withAWS(t testing.TB) *pluginRig {
	t.Helper()
	tool := "/usr/bin/aws" // where there is another it comes first on PATH
	if _, err := os.Stat(tool); err != nil {
		tool = rigtest.Need(t, "aws")
	}
	script := "#!/bin/sh\nexec " + tool + ` "$@" --endpoint-url ` + r.URL() + "\n"
	if err := os.WriteFile(filepath.Join(r.dir, "aws"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

// aws is a command of the AWS CLI's.
func (r *pluginRig) aws(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.dir, "aws"), args...)
	cmd.Env = r.env
	return cmd
}

// portSession is aws ssm start-session for a port.
func (r *pluginRig) portSession(document, parameters string) *exec.Cmd {
	return r.aws("ssm", "start-session", "--target", rigtest.Node1, "--document-name", document, "--parameters", parameters)
}

// begin starts a session, and returns the arguments that the AWS CLI would pass
// to its plugin.
func (r *pluginRig) begin(t testing.TB, document string, parameters map[string][]string) (args []string) {
	t.Helper()
	value := func(name string) (v string) {
		for _, e := range r.Env() {
			if text, ok := strings.CutPrefix(e, name+"="); ok {
				v = text
			}
		}
		return v
	}
	cfg, err := config.LoadDefaultConfig(context.Background(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(r.URL()),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"), value("AWS_SESSION_TOKEN"))))
	if err != nil {
		t.Fatal(err)
	}
	in := &ssm.StartSessionInput{Target: aws.String(rigtest.Node1), DocumentName: &document, Parameters: parameters}
	out, err := ssm.NewFromConfig(cfg).StartSession(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	response, _ := json.Marshal(map[string]any{"SessionId": out.SessionId, "StreamUrl": out.StreamUrl, "TokenValue": out.TokenValue,
		"ResponseMetadata": map[string]any{"HTTPStatusCode": 200}})
	request, _ := json.Marshal(map[string]any{"Target": rigtest.Node1, "DocumentName": document, "Parameters": parameters})
	return []string{string(response), "us-east-1", "StartSession", "", string(request), r.URL()}
}

// plugin is the plugin's process.
func (r *pluginRig) plugin(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.dir, "session-manager-plugin"), args...)
	cmd.Env = r.env
	return cmd
}

// pluginProcess is a process whose output is looked at while it runs.
type pluginProcess struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout rigtest.Output
	stderr rigtest.Output
	ended  chan struct{}
}

// startPlugin starts a process in a group of its own, as a shell does.
func startPlugin(t testing.TB, cmd *exec.Cmd) *pluginProcess {
	t.Helper()
	w := &pluginProcess{Cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &w.stdout, &w.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if w.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(w.ended)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-w.ended
	})
	return w
}

// saw waits for a text on stdout and the line that it is in, and returns the
// rest of that.
func (w *pluginProcess) saw(t testing.TB, text string) string {
	t.Helper()
	end := time.Now().Add(time.Minute) // the AWS CLI takes seconds to start
	for {
		ended := false
		select {
		case <-w.ended:
			ended = true
		case <-time.After(10 * time.Millisecond):
		}
		_, after, ok := strings.Cut(w.stdout.String(), text)
		if rest, _, whole := strings.Cut(after, "\n"); ok && whole {
			return rest
		}
		if ended || time.Now().After(end) {
			t.Fatalf("no %q; %v, stdout %q, stderr %q", text, w.ProcessState, w.stdout.String(), w.stderr.String())
		}
	}
}

// interrupt is a Ctrl-C at the terminal: the whole group gets it.
func (w *pluginProcess) interrupt() { syscall.Kill(-w.Process.Pid, syscall.SIGINT) }

// wantEnd waits for the end with a status, a text on stderr ("": nothing there)
// and no session left.
func (w *pluginProcess) wantEnd(t testing.TB, srv *awstest.Server, status int, text string) {
	t.Helper()
	select {
	case <-w.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("still running; stdout %q, stderr %q", w.stdout.String(), w.stderr.String())
	}
	stderr := rigtest.BesideNotices(w.stderr.String())
	if got := w.ProcessState.ExitCode(); got != status || !strings.Contains(stderr, text) || text == "" && stderr != "" {
		t.Errorf("status %d, want %d; stderr %q, want %q", got, status, stderr, text)
	}
	rigtest.NoSessions(t, srv)
}
