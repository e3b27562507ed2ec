package sshconfig_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// itsHome is where the user database has the home of the user that a homeRig's
// processes run as in their namespace, root.
const itsHome = "/root"

// homeRig is a user with a home of his own, which is empty at first, and a
// machine web-1 that is this one. ssh looks for ~/.ssh in the user database, so
// the home is mounted there, for the processes of this user only.
type homeRig struct {
	*rigtest.Keys
	home string
	more string // commands that come before, with the home mounted
}

func newHomeRig(t *testing.T) *homeRig {
	t.Helper()
	h := &homeRig{Keys: rigtest.NewKeys(t), home: t.TempDir()}
	if out, err := h.command(t, "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces here: %v %s", err, out)
	}
	h.AddNode(awstest.Node{ID: "i-0web1", Name: "web-1", Node: ssmtest.Node{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+h.Port)
	}}})
	h.AddNode(awstest.Node{ID: "i-0web2", Name: "Web 2", State: "stopped"})
	h.AddNode(awstest.Node{ID: "i-0bad", Name: "\"x'\nHost *\n    ProxyCommand touch ~/pwned\n$(touch ~/pwned)`touch ~/pwned`"})
	return h
}

// ownKey gives the user a key that sshd takes.
func (h *homeRig) ownKey(t *testing.T) {
	t.Helper()
	os.Mkdir(filepath.Join(h.home, ".ssh"), 0o700)
	rigtest.WriteFile(t, filepath.Join(h.home, ".ssh", "id_ed25519"), string(rigtest.ReadFile(t, filepath.Join(h.Far, "id"))))
	h.TakeOnly(t, string(rigtest.ReadFile(t, filepath.Join(h.Far, "id.pub"))))
}

// command prepares a tool that the user runs. It has none of the rig's
// configuration.
func (h *homeRig) command(t testing.TB, tool string, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"--user", "--map-root-user", "--mount", "sh", "-c", `mount --bind "$0" ` + itsHome + ` && cd && ` + h.more + ` exec "$@"`,
		h.home, rigtest.Need(t, tool)}, args...)
	cmd := exec.Command(rigtest.Need(t, "unshare"), args...)
	for _, v := range h.Environ {
		if name, _, _ := strings.Cut(v, "="); name != "HOME" && name != "SSH_AUTH_SOCK" && !strings.HasPrefix(name, "GIT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+itsHome, "LC_ALL=C.UTF-8")
	return cmd
}

// sshConfig runs ssmpipe ssh-config, which says on stderr what it does.
func (h *homeRig) sshConfig(t testing.TB, args ...string) (said string) {
	t.Helper()
	got := rigtest.Run(t, h.command(t, rigtest.SSMPipe, append([]string{"ssh-config", "--region", "us-east-1"}, args...)...), nil)
	if got.Status != 0 || len(got.Stdout) > 0 {
		t.Errorf("ssh-config %q: %+v", args, got)
	}
	return got.Stderr
}

// TestEveryToolGoesByTheSSHConfig is somebody who has never used ssh.
func TestEveryToolGoesByTheSSHConfig(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{
		"with a key of his own": {"--no-push-key"},
		"without any":           {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHomeRig(t)
			if slices.Contains(flags, "--no-push-key") {
				h.ownKey(t)
			}
			h.sshConfig(t, append(flags, "--install", "--hosts", "--user", rigtest.UserName())...)
			h.tryTools(t)
			if got := rigtest.Run(t, h.command(t, "ssh-keygen", "-F", "i-0web1"), nil); got.Status != 0 {
				t.Errorf("the host key is not kept by id: %+v", got)
			}
			if _, err := os.Stat(filepath.Join(h.home, "pwned")); err == nil {
				t.Error("a name reached a shell")
			}
			h.sshConfig(t, "--uninstall")
			left, _ := os.ReadDir(filepath.Join(h.home, ".ssh"))
			for _, f := range left {
				if f.Name() != "known_hosts" && f.Name() != "id_ed25519" {
					t.Errorf("uninstalled, it left %s", f.Name())
				}
			}
		})
	}
}

// tryTools wants each of them to find web-1.
func (h *homeRig) tryTools(t *testing.T) {
	t.Helper()
	known := "Warning: Permanently added 'i-0web1' (ED25519) to the list of known hosts.\r\n"
	got := rigtest.Run(t, h.command(t, "ssh", "web-1", "echo $SSH_CONNECTION"), nil)
	if got.Status != 0 || !strings.HasSuffix(string(got.Stdout), " 127.0.0.1 "+h.Port+"\n") || got.Stderr != known {
		t.Errorf("ssh: %+v", got)
	}
	data := rigtest.Random(300_000, 7)
	if err := os.WriteFile(filepath.Join(h.home, "up"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	rigtest.Succeed(t, h.command(t, "scp", "-q", "up", "web-1:"+h.Dir+"/scp"), nil)
	rigtest.Equal(t, "scp", rigtest.ReadFile(t, filepath.Join(h.Dir, "scp")), data)
	rigtest.Succeed(t, h.command(t, "rsync", "-a", "web-1:"+h.Dir+"/scp", "down"), nil)
	rigtest.Equal(t, "rsync", rigtest.ReadFile(t, filepath.Join(h.home, "down")), data)
	out := rigtest.Succeed(t, h.command(t, "sftp", "-q", "-b", "/dev/null", "web-1"), nil)
	if len(out) > 0 {
		t.Errorf("sftp: %s", out)
	}

	repo := filepath.Join(h.Dir, "repo")
	for _, args := range [][]string{{"init", "-q", repo}, {"-C", repo, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "--allow-empty", "-m", "hello"}} {
		if out, err := exec.Command(rigtest.Need(t, "git"), args...).CombinedOutput(); err != nil {
			t.Fatalf("git: %v\n%s", err, out)
		}
	}
	rigtest.Succeed(t, h.command(t, "git", "clone", "-q", "web-1:"+repo, "clone"), nil)
	if out := rigtest.Succeed(t, h.command(t, "git", "-C", "clone", "log", "--format=%s"), nil); string(out) != "hello\n" {
		t.Errorf("git: %q", out)
	}

	pong := rigtest.Run(t, h.command(t, "ansible", "-i", "web-1,", "all", "-m", "ping"), nil)
	if pong.Status != 0 || !bytes.Contains(pong.Stdout, []byte(`"ping": "pong"`)) {
		t.Errorf("ansible: %d, %s\n%s", pong.Status, pong.Stdout, pong.Stderr)
	}
	// Ansible leaves a connection open for later.
	h.command(t, "sh", "-c", `for s in ~/.ansible/cp/*; do ssh -O exit -S "$s" web-1; done`).Run()
	rigtest.WaitFor(t, "end of the sessions", func() bool { return h.ActiveSessions() == 0 })
}

// TestASuffixIsLookedUp has names that no configuration knows.
func TestASuffixIsLookedUp(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	h.sshConfig(t, "--install", "--suffix", ".prod", "--user", rigtest.UserName())
	for _, host := range []string{"web-1.prod", "i-0web1.prod", "i-0web1"} {
		got := rigtest.Run(t, h.command(t, "ssh", host, "echo here"), nil)
		if got.Status != 0 || string(got.Stdout) != "here\n" {
			t.Errorf("%s: %+v", host, got)
		}
	}
	rigtest.WaitFor(t, "end of the sessions", func() bool { return h.ActiveSessions() == 0 })
}

// TestSSHSharesAConnection has a second ssh while the first is still there.
func TestSSHSharesAConnection(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	h.ownKey(t)
	h.sshConfig(t, "--install", "--hosts", "--user", rigtest.UserName(), "--no-push-key")
	first := h.command(t, "ssh", "web-1", "echo ready; cat")
	stdin, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	rigtest.Start(t, first)
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if out := rigtest.Succeed(t, h.command(t, "ssh", "web-1", "echo", fmt.Sprint(i)), nil); string(out) != fmt.Sprintf("%d\n", i) {
			t.Errorf("got %q", out)
		}
	}
	if n := len(h.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	stdin.Close()
	first.Wait()
	rigtest.WaitFor(t, "end of the session", func() bool { return h.ActiveSessions() == 0 })
}

// TestWhatSSMPipeSaysIsSeen has a machine that is stopped. With ControlPersist
// ssh would keep what is said of it to itself.
func TestWhatSSMPipeSaysIsSeen(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	h.sshConfig(t, "--install", "--hosts", "--no-push-key")
	got := rigtest.Run(t, h.command(t, "ssh", "web-2", "true"), nil)
	if got.Status != 255 || !strings.Contains(got.Stderr, "ssmpipe: i-0web2: ") {
		t.Errorf("%+v", got)
	}
}

// TestARefreshThatFailsChangesNothing has credentials of no use the third time.
func TestARefreshThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	h.sshConfig(t, "--install", "--hosts")
	file := filepath.Join(h.home, ".ssh", "ssmpipe.config")
	before := rigtest.ReadFile(t, file)
	if said := h.sshConfig(t, "--install", "--hosts"); !strings.Contains(said, "already") {
		t.Errorf("the second time it said %s", said)
	}
	cmd := h.command(t, rigtest.SSMPipe, "ssh-config", "--region", "us-east-1", "--install", "--hosts")
	cmd.Env = append(cmd.Env, "AWS_SECRET_ACCESS_KEY=another")
	if got := rigtest.Run(t, cmd, nil); got.Status != 1 || got.Stderr == "" {
		t.Errorf("%+v", got)
	}
	rigtest.Equal(t, "the configuration", rigtest.ReadFile(t, file), before)
}

// TestAnotherHomeIsNotWrittenTo has a HOME that ssh does not look into.
func TestAnotherHomeIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--install", "--uninstall"} {
		cmd := exec.Command(rigtest.SSMPipe, "ssh-config", flag)
		home := t.TempDir()
		cmd.Env = append(os.Environ(), "HOME="+home)
		got := rigtest.Run(t, cmd, nil)
		if left, _ := os.ReadDir(home); got.Status != 1 || !strings.Contains(got.Stderr, "set HOME to that") || len(left) > 0 {
			t.Errorf("%s: %+v, %d files", flag, got, len(left))
		}
	}
}
