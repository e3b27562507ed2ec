package proxy_test

import (
	"bytes"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestVia: real ssh and scp to a machine that has no agent, through one that
// has neither sshd nor a key.
func TestVia(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssmtest.Config{"multiplexed": fast, "basic": oldAgent} {
		t.Run(name, func(t *testing.T) {
			r := newSSHRig(t, fast) // for its sshd, keys and configuration
			b := newBastion(t, cfg)
			b.put("app.internal:22", net.JoinHostPort("127.0.0.1", r.port))
			config := filepath.Join(t.TempDir(), "config")
			writeFile(t, config, "Host *.internal\n  ProxyCommand "+ssmpipe+" proxy --via "+node1+" %h %p\n"+string(readFile(t, r.config)))
			tool := func(name string, args ...string) *exec.Cmd {
				cmd := exec.Command(need(t, name), append([]string{"-F", config}, args...)...)
				cmd.Env, cmd.Dir = b.env, r.dir
				return cmd
			}
			sent := random(4<<20, 9)
			equal(t, "cat", succeed(t, tool("ssh", "app.internal", "cat"), bytes.NewReader(sent)), sent)
			file := filepath.Join(t.TempDir(), "file")
			writeFile(t, file, string(sent))
			succeed(t, tool("scp", "-q", file, "app.internal:"+file+".copied"), nil)
			equal(t, "scp", readFile(t, file+".copied"), sent)
			for _, s := range b.Sessions() {
				if s.Document() != "AWS-StartPortForwardingSessionToRemoteHost" || s.Parameters()["host"][0] != "app.internal" {
					t.Errorf("session %s with %v", s.Document(), s.Parameters())
				}
			}
			waitFor(t, "end of the sessions", func() bool { return b.ActiveSessions() == 0 })
		})
	}
}

// TestViaRefused: nothing listens there.
func TestViaRefused(t *testing.T) {
	t.Parallel()
	b := newBastion(t, fast)
	cmd := exec.Command(ssmpipe, "proxy", "--via", node1, "nobody.internal", "22")
	cmd.Env = b.env
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
	waitFor(t, "end of the session", func() bool { return b.ActiveSessions() == 0 })
}
