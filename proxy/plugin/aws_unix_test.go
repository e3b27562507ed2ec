//go:build unix

package plugin_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// These tests run Debian's AWS CLI with ssmpipe as its plugin. What that version
// (2.9) does not do: it does not know AWS_ENDPOINT_URL, so it is given
// --endpoint-url; it never asks for --version, and passes the response as an
// argument; and where the plugin fails it prints the plugin's whole command line
// and ends with status 255, whatever the plugin's was.

func TestAWSPort(t *testing.T) {
	t.Parallel()
	page := string(rigtest.Random(300_000, 4))
	for document, parameters := range map[string]string{
		portDocument:   "portNumber=80,localPortNumber=0",
		remoteDocument: "host=web.internal,portNumber=80",
	} {
		t.Run(document, func(t *testing.T) {
			t.Parallel()
			r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, pageServer(t, page))).withAWS(t)
			// The first link lives, the next three are cut in the middle of a page.
			r.CutEach(func(link int) (int64, ssmtest.Cut) {
				if link > 3 {
					return -1, 0
				}
				return 150_000, ssmtest.Cut(link % 3)
			})
			w := startPlugin(t, r.portSession(document, parameters))
			port := strings.Fields(w.saw(t, "\nPort "))[0]
			w.saw(t, "Waiting for connections...")
			for range 3 {
				if got, err := fetchPage("http://127.0.0.1:" + port); got != page {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
			s := r.Sessions()[0]
			if s.Resumes() == 0 {
				t.Error("nothing was cut")
			}
			w.saw(t, "\nConnection accepted for session ["+s.ID()+"]")
			w.interrupt()
			w.wantEnd(t, r.Server, 0, "")
			if !strings.HasSuffix(w.stdout.String(), "\nTerminate signal received, exiting.\n\n\nExiting session with sessionId: "+s.ID()+".\n\n") {
				t.Errorf("stdout %q", w.stdout.String())
			}
		})
	}
}

// TestAWSFailure: the AWS CLI learns by the status that a session did not work.
func TestAWSFailure(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, rigtest.Fast, rigtest.FreePort(t))).withAWS(t)
	got := rigtest.Run(t, r.portSession(sshDocument, "portNumber=4711"), nil)
	if got.Status == 0 || len(got.Stdout) > 0 || !strings.Contains(got.Stderr, "ssmpipe: "+rigtest.Node1+": the agent could not connect to the port") {
		t.Errorf("%+v", got)
	}
}

// TestAWSSSH: ssh and scp over what AWS's documentation has as ProxyCommand.
func TestAWSSSH(t *testing.T) {
	t.Parallel()
	ssh := rigtest.NewSSH(t, rigtest.Fast)
	r := newPluginRig(t, ssh.Server).withAWS(t)
	ssh.Environ = r.env
	rigtest.WriteFile(t, ssh.Config, strings.ReplaceAll(string(rigtest.ReadFile(t, ssh.Config)), rigtest.SSMPipe+" proxy --region us-east-1 %h %p",
		`sh -c "aws ssm start-session --target %h --document-name AWS-StartSSHSession --parameters 'portNumber=%p'"`))
	if !bytes.Contains(rigtest.ReadFile(t, ssh.Config), []byte("AWS-StartSSHSession")) {
		t.Fatal("the configuration is another")
	}
	r.CutEach(func(link int) (int64, ssmtest.Cut) {
		if link%4 == 3 {
			return -1, 0
		}
		return 150_000, ssmtest.Cut(link % 3)
	})
	for _, status := range []int{0, 7} {
		got := rigtest.Run(t, ssh.Command(t, "ssh", rigtest.Node1, fmt.Sprintf("echo out; echo err >&2; exit %d", status)), nil)
		if got.Status != status || string(got.Stdout) != "out\n" || got.Stderr != "err\n" {
			t.Errorf("exit %d: %+v", status, got)
		}
	}
	want := rigtest.Random(1<<20, 3)
	here, there, back := filepath.Join(ssh.Dir, "here"), filepath.Join(ssh.Dir, "there"), filepath.Join(ssh.Dir, "back")
	rigtest.WriteFile(t, here, string(want))
	rigtest.Succeed(t, ssh.Command(t, "scp", "-q", here, rigtest.Node1+":"+there), nil)
	rigtest.Equal(t, "scp up", rigtest.ReadFile(t, there), want)
	rigtest.Succeed(t, ssh.Command(t, "scp", "-q", rigtest.Node1+":"+there, back), nil)
	rigtest.Equal(t, "scp down", rigtest.ReadFile(t, back), want)
	rigtest.WaitFor(t, "end of the sessions", func() bool { return r.ActiveSessions() == 0 })
	resumes := 0
	for _, s := range r.Sessions() {
		resumes += s.Resumes()
		if s.Document() != sshDocument || s.Parameters()["portNumber"][0] != "22" {
			t.Errorf("started %s %v", s.Document(), s.Parameters())
		}
	}
	if resumes == 0 {
		t.Error("nothing was cut")
	}
	r.noneLeft(t)
}

// running is how many of the rig's plugins there are.
func (r *pluginRig) running(t testing.TB) int {
	t.Helper()
	out, _ := exec.Command(rigtest.Need(t, "pgrep"), "-f", "session-manager-plugin .*"+r.URL()).Output()
	return bytes.Count(out, []byte("\n"))
}

// noneLeft waits until there is none: the AWS CLI, and ssh, may end before it
// does.
func (r *pluginRig) noneLeft(t testing.TB) {
	t.Helper()
	rigtest.WaitFor(t, "end of the plugins", func() bool { return r.running(t) == 0 })
}
