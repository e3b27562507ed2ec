package stdio_test

import (
	"bytes"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestVia: real ssh and scp to a machine that has no agent, through one that
// has neither sshd nor a key.
func TestVia(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssmtest.Config{"multiplexed": rigtest.Fast, "basic": rigtest.OldAgent} {
		t.Run(name, func(t *testing.T) {
			r := rigtest.NewSSH(t, rigtest.Fast) // for its sshd, keys and configuration
			b := rigtest.NewBastion(t, cfg)
			b.Put("app.internal:22", net.JoinHostPort("127.0.0.1", r.Port))
			config := filepath.Join(t.TempDir(), "config")
			rigtest.WriteFile(t, config, "Host *.internal\n  ProxyCommand "+rigtest.SSMPipe+" proxy --via "+rigtest.Node1+" %h %p\n"+string(rigtest.ReadFile(t, r.Config)))
			tool := func(name string, args ...string) *exec.Cmd {
				cmd := exec.Command(rigtest.Need(t, name), append([]string{"-F", config}, args...)...)
				cmd.Env, cmd.Dir = b.Environ, r.Dir
				return cmd
			}
			sent := rigtest.Random(4<<20, 9)
			rigtest.Equal(t, "cat", rigtest.Succeed(t, tool("ssh", "app.internal", "cat"), bytes.NewReader(sent)), sent)
			file := filepath.Join(t.TempDir(), "file")
			rigtest.WriteFile(t, file, string(sent))
			rigtest.Succeed(t, tool("scp", "-q", file, "app.internal:"+file+".copied"), nil)
			rigtest.Equal(t, "scp", rigtest.ReadFile(t, file+".copied"), sent)
			for _, s := range b.Sessions() {
				if s.Document() != "AWS-StartPortForwardingSessionToRemoteHost" || s.Parameters()["host"][0] != "app.internal" {
					t.Errorf("session %s with %v", s.Document(), s.Parameters())
				}
			}
			rigtest.WaitFor(t, "end of the sessions", func() bool { return b.ActiveSessions() == 0 })
		})
	}
}

// TestViaRefused: nothing listens there.
func TestViaRefused(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	cmd := exec.Command(rigtest.SSMPipe, "proxy", "--via", rigtest.Node1, "nobody.internal", "22")
	cmd.Env = b.Environ
	stdin, err := cmd.StdinPipe() // open, as ssh's is
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	io.WriteString(stdin, "SSH-2.0-test\r\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "nobody.internal") || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("%v, stderr %q", err, stderr.String())
	}
	rigtest.WaitFor(t, "end of the session", func() bool { return b.ActiveSessions() == 0 })
}
