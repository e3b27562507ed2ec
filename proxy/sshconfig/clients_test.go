package sshconfig_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestOtherClientsGoByTheSSHConfig has other implementations of SSH connect by
// what ssh-config has installed. They have no key of ours, since they do not say
// the user, but what the user has, in a file or an agent.
func TestOtherClientsGoByTheSSHConfig(t *testing.T) {
	t.Parallel()
	for name, script := range map[string][]string{
		"net-ssh": {"ruby", "-e", `require "net/ssh"
Net::SSH.start("web-1", ARGV[0]) { |s| print s.exec!("echo here") }
Net::SSH.start("i-0web1", ARGV[0]) { |s| print s.exec!("echo here") }`},
		"paramiko": {"/usr/bin/python3", "-c", `import os, sys, paramiko
c = paramiko.SSHConfig.from_path(os.path.expanduser("~/.ssh/ssmpipe.config"))
for host in "web-1", "i-0web1":
    h = c.lookup(host)
    s = paramiko.SSHClient()
    s.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    s.connect(h["hostname"], username=sys.argv[1], sock=paramiko.ProxyCommand(h["proxycommand"]))
    print(s.exec_command("echo here")[1].read().decode(), end="")
    s.close()`},
	} {
		for _, keys := range []string{"in a file", "in the agent"} {
			t.Run(name+" "+keys, func(t *testing.T) {
				t.Parallel()
				h := newHomeRig(t)
				if keys == "in a file" {
					h.ownKey(t)
				} else {
					h.StartAgent(t)
				}
				h.sshConfig(t, "--install", "--hosts", "--user", rigtest.UserName())
				cmd := h.command(t, script[0], append(script[1:], rigtest.UserName())...)
				if keys == "in the agent" {
					cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+filepath.Join(h.Dir, "own"))
				}
				got := rigtest.Run(t, cmd, nil)
				if got.Status != 0 || string(got.Stdout) != "here\nhere\n" || name == "net-ssh" && !strings.Contains(got.Stderr, "ssmpipe was not started by OpenSSH, so it does not know the user") {
					t.Errorf("%d: %s\n%s", got.Status, got.Stdout, got.Stderr)
				}
				if sent := h.Pushes(); len(sent) > 0 {
					t.Errorf("pushed: %v", sent)
				}
				rigtest.WaitFor(t, "end of the sessions", func() bool { return h.ActiveSessions() == 0 })
			})
		}
	}
}

// TestTheUserIsWhomSSHSays, however it is said: nothing in the configuration
// tells ssmpipe.
func TestTheUserIsWhomSSHSays(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	h.sshConfig(t, "--install", "--hosts", "--user", "fromconfig")
	rigtest.WriteFile(t, filepath.Join(h.home, "wrapper"), "#!/bin/sh\nssh \"$@\"\nexit 0\n")
	users := make(chan string, 100)
	h.OnPublicKeys(func(_, user string, _ []string) { users <- user })
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ssh", "web-1", "true"}, "fromconfig"},
		{[]string{"ssh", "ann@web-1", "true"}, "ann"},
		{[]string{"ssh", "-l", "bob", "i-0web1", "echo", "-l", "nobody"}, "bob"},
		{[]string{"ssh", "-vp22", "-oUser=carl", "web-1"}, "carl"},
		{[]string{"ssh", "ssh://dora@web-1:22", "--", "true"}, "dora"},
		{[]string{"sh", itsHome + "/wrapper", "-F", itsHome + "/.ssh/config", "eve@web-1", "a b 'c"}, "eve"},
		{[]string{"scp", "-q", "fred@web-1:/none", "x"}, "fred"},
		{[]string{"ssh", "-oProxyCommand=sh -c '" + rigtest.SSMPipe + " proxy --push-key --identity-agent=~/.cache/ssmpipe/agent --region us-east-1 %h %p; :'", "gus@web-1", "true"}, "gus"},
	} {
		rigtest.Run(t, h.command(t, c.args[0], c.args[1:]...), nil) // sshd knows none of them
		select {
		case user := <-users:
			if user != c.want || len(users) > 0 {
				t.Errorf("%q: pushed for %s, want for %s", c.args, user, c.want)
			}
		default:
			t.Errorf("%q: nothing pushed", c.args)
		}
	}
	rigtest.WaitFor(t, "end of the sessions", func() bool { return h.ActiveSessions() == 0 })
}

// TestEachSSHHasItsOwnKey: many at once share the agent's path, and sshd takes
// few wrong keys.
func TestEachSSHHasItsOwnKey(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	// Each machine takes only what was pushed to it last.
	ports := make([]string, 4)
	dirs := make([]string, len(ports))
	for i := range ports {
		dirs[i] = t.TempDir()
		ports[i] = rigtest.StartSSHD(t, dirs[i], "AuthorizedKeysFile "+dirs[i]+"/keys", "MaxAuthTries 2")
		id := "i-0own" + string(rune('a'+i))
		h.AddNode(awstest.Node{ID: id, Name: "own-" + string(rune('a'+i)), Node: ssmtest.Node{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+ports[i])
		}}})
	}
	h.OnPublicKeys(func(instance, user string, _ []string) {
		for i := range ports {
			if instance == "i-0own"+string(rune('a'+i)) {
				part := filepath.Join(dirs[i], "part")
				os.WriteFile(part, []byte(strings.Join(h.PublicKeys(instance, user), "\n")+"\n"), 0o600)
				os.Rename(part, filepath.Join(dirs[i], "keys"))
			}
		}
	})
	h.sshConfig(t, "--install", "--hosts", "--user", rigtest.UserName())
	// All in one namespace of processes, and waiting for each other.
	script := `i=0; for m in a b c d a b c d; do i=$((i+1)); ssh -S none own-$m "echo $m" >out$i 2>err$i & done; wait; cat out*`
	got := rigtest.Run(t, h.command(t, "sh", "-c", script), nil)
	if string(got.Stdout) != "a\nb\nc\nd\na\nb\nc\nd\n" {
		t.Errorf("%+v\n%s", got, rigtest.Succeed(t, h.command(t, "sh", "-c", "cat err*"), nil))
	}
	rigtest.WaitFor(t, "end of the sessions", func() bool { return h.ActiveSessions() == 0 })
	// Each stays a moment longer for an ssh that it was told of.
	rigtest.WaitFor(t, "end of the sockets", func() bool {
		left, err := os.ReadDir(filepath.Join(h.home, ".cache", "ssmpipe"))
		return err == nil && len(left) == 0
	})
}

// TestReadOnlyDirectories: where sockets cannot be made ssh goes on with the
// user's own keys.
func TestReadOnlyDirectories(t *testing.T) {
	t.Parallel()
	const ro = "mount --bind " + itsHome + "/%[1] " + itsHome + "/%[1] && mount -o remount,bind,ro " + itsHome + "/%[1] &&"
	mount := func(dir string) string { return strings.ReplaceAll(ro, "%[1]", dir) }
	setUp := func(t *testing.T) *homeRig {
		h := newHomeRig(t)
		h.ownKey(t)
		h.sshConfig(t, "--install", "--hosts", "--user", rigtest.UserName())
		os.Mkdir(filepath.Join(h.home, ".cache"), 0o700)
		return h
	}
	for name, c := range map[string]struct {
		more, want string
		pushed     int
		args       []string
	}{
		"of ssh": {mount(".ssh"), "", 1, nil},
		"of sockets": {"mkdir -p .cache/ssmpipe && " + mount(".cache/ssmpipe"),
			"read-only file system; no key supplied, ssh goes on with the keys in your files; ssh exits if it cannot create its ControlPath there: use ssh -o ControlPath=none", 0, []string{"-o", "ControlPath=none"}},
		"above": {"rm -rf .cache/ssmpipe && " + mount(".cache"), "read-only file system; no key supplied, ssh goes on with the keys in your files; ssh exits if", 0, []string{"-o", "ControlPath=none"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := setUp(t)
			h.more = c.more
			args := append(c.args, "-o", "StrictHostKeyChecking=no", "web-1", "echo here")
			got := rigtest.Run(t, h.command(t, "ssh", args...), nil)
			if got.Status != 0 || string(got.Stdout) != "here\n" || !strings.Contains(got.Stderr, c.want) || c.want == "" && strings.Contains(got.Stderr, "ssmpipe:") || strings.Count("\n"+got.Stderr, "\nssmpipe: ") > 1 {
				t.Errorf("%d %s %s", got.Status, got.Stdout, got.Stderr)
			}
			if n := len(h.Pushes()); n != c.pushed {
				t.Errorf("%d keys pushed", n)
			}
			rigtest.WaitFor(t, "end of the sessions", func() bool { return h.ActiveSessions() == 0 })
		})
	}
}

// TestNobodysHomeIsMade by the sockets in it.
func TestNobodysHomeIsMade(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	home := filepath.Join(r.Dir, "gone")
	r.Environ = append(r.Environ, "HOME="+home)
	r.Configure(t, "--control-dir="+home+"/.cache/ssmpipe --identity-agent="+home+"/.cache/ssmpipe/agent", "IdentityFile none")
	got := rigtest.Run(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil)
	if !strings.Contains(got.Stderr, "mkdir "+home+"/.cache/ssmpipe: the home directory does not exist") {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(home); err == nil {
		t.Error("a home was made")
	}
}

// TestASuffixFindsNamesInAnyCase, and refuses to choose by it.
func TestASuffixFindsNamesInAnyCase(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	h.AddNode(awstest.Node{ID: "i-0case1", Name: "Worker"})
	h.AddNode(awstest.Node{ID: "i-0case2", Name: "worker"})
	h.AddNode(awstest.Node{ID: "i-0case3", Name: "WEB-9", Node: ssmtest.Node{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+h.Port)
	}}})
	h.sshConfig(t, "--install", "--suffix", ".Prod", "--user", rigtest.UserName())
	for _, host := range []string{"WEB-9.Prod", "Web-9.Prod"} {
		if got := rigtest.Run(t, h.command(t, "ssh", host, "echo here"), nil); string(got.Stdout) != "here\n" {
			t.Errorf("%s: %+v", host, got)
		}
	}
	for _, host := range []string{"worker.Prod", "Worker.Prod"} {
		if got := rigtest.Run(t, h.command(t, "ssh", host, "echo here"), nil); got.Status != 255 || !strings.Contains(got.Stderr, "2 machines have this name") {
			t.Errorf("%s: %+v", host, got)
		}
	}
	// Without it, a name is what it is.
	cmd := exec.Command(rigtest.SSMPipe, "proxy", "--region", "us-east-1", "worker", "1")
	cmd.Env = h.Environ
	if got := rigtest.Run(t, cmd, nil); strings.Contains(got.Stderr, "have this name") {
		t.Errorf("%+v", got)
	}
}

// TestAReplacedMachineIsANewOne: with a suffix host keys go by the machine's id,
// not by its name.
func TestAReplacedMachineIsANewOne(t *testing.T) {
	t.Parallel()
	h := newHomeRig(t)
	h.ownKey(t)
	h.sshConfig(t, "--install", "--suffix", ".prod", "--user", rigtest.UserName())
	second := t.TempDir()
	rigtest.WriteFile(t, filepath.Join(second, "keys"), string(rigtest.ReadFile(t, filepath.Join(h.Far, "id.pub"))))
	other := rigtest.StartSSHD(t, second, "AuthorizedKeysFile "+second+"/keys")
	to := func(port string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
		}
	}
	keys := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(h.home, ".ssh", "ssmpipe", "hosts", name))
		return string(text)
	}
	connect := func(args ...string) rigtest.Result {
		t.Helper()
		cmd := h.command(t, "ssh", append([]string{"-oHashKnownHosts=no"}, append(args, "echo here")...)...)
		cmd.Env = append(cmd.Env, "SSMPIPE_CACHE="+t.TempDir())
		return rigtest.Run(t, cmd, nil)
	}
	works := func(args ...string) {
		t.Helper()
		if got := connect(args...); got.Status != 0 || string(got.Stdout) != "here\n" {
			t.Errorf("%q: %+v", args, got)
		}
	}
	works("web-1.prod")
	works("Web-1.prod")
	works("-p", "22", "web-1.prod")
	if text := keys("@i-0web1"); !strings.HasPrefix(text, "web-1.prod ssh-ed25519 ") || strings.Count(text, "\n") != 1 {
		t.Errorf("keys of the first: %s", text)
	}
	works("i-0web1.prod")
	works("i-0web1")

	// Its successor has the name and another key.
	h.AddNode(awstest.Node{ID: "i-0web1", Name: "web-1", State: "terminated"})
	h.AddNode(awstest.Node{ID: "i-0next", Name: "web-1", Node: ssmtest.Node{Dial: to(other)}})
	works("web-1.prod")
	works("web-1.prod")
	if text := keys("@i-0next"); !strings.HasPrefix(text, "web-1.prod ssh-ed25519 ") || strings.Count(text, "\n") != 1 || strings.Contains(keys("@i-0web1"), text) {
		t.Errorf("keys of the second: %s", text)
	}

	// The same machine with another key is refused, until what ssh says is done.
	h.AddNode(awstest.Node{ID: "i-0next", Name: "web-1", Node: ssmtest.Node{Dial: to(h.Port)}})
	got := connect("web-1.prod")
	if got.Status != 255 || !strings.Contains(got.Stderr, "REMOTE HOST IDENTIFICATION HAS CHANGED") || !strings.Contains(got.Stderr, `ssh-keygen -f "`+itsHome+`/.ssh/ssmpipe/hosts/web-1.prod" -R "web-1.prod"`) {
		t.Errorf("%+v", got)
	}
	rigtest.Succeed(t, h.command(t, "ssh-keygen", "-f", itsHome+"/.ssh/ssmpipe/hosts/web-1.prod", "-R", "web-1.prod"), nil)
	works("web-1.prod")
	works("web-1.prod")
	if text := keys("@i-0next"); !strings.HasPrefix(text, "web-1.prod ssh-ed25519 ") || strings.Count(text, "\n") != 1 {
		t.Errorf("keys of the second: %s", text)
	}

	// A name of the tag's or of ssh's choosing leads nowhere else.
	for _, host := range []string{"../../x.prod", "a/../b.prod"} {
		cmd := exec.Command(rigtest.SSMPipe, "proxy", "--region", "us-east-1", "--strip-suffix", ".prod", "--host-keys", h.Dir+"/hosts", host, "1")
		cmd.Env = h.Environ
		rigtest.Run(t, cmd, nil)
	}
	if left, _ := os.ReadDir(filepath.Join(h.Dir, "hosts")); len(left) > 0 {
		t.Errorf("%v", left)
	}
	rigtest.WaitFor(t, "end of the sessions", func() bool { return h.ActiveSessions() == 0 })
	h.sshConfig(t, "--uninstall")
	if _, err := os.Stat(filepath.Join(h.home, ".ssh", "ssmpipe")); err == nil {
		t.Error("uninstalled, it left the keys")
	}
}
