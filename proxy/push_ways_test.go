package proxy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestKeyOfTheAgent: without a socket and a file it is the user's agent's.
func TestKeyOfTheAgent(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	key := r.startAgent(t)
	r.takeOnly(t, "")
	r.configure(t, "", "IdentityFile none")
	succeed(t, r.command(t, "ssh", node1, "true"), nil)
	if sent := r.pushes(); len(sent) != 1 || !strings.HasPrefix(key, sent[0].key) {
		t.Errorf("%+v", sent)
	}
	r.configure(t, "--key agent", "IdentityFile none")
	r.env = append(r.env, "SSH_AUTH_SOCK="+r.dir+"/none")
	if got := run(t, r.command(t, "ssh", node1, "true"), nil); !strings.Contains(got.stderr, "the ssh-agent has no key that can be pushed") || !strings.Contains(got.stderr, "add a key with ssh-add") {
		t.Errorf("%+v", got)
	}
}

// TestMadeKey: where there is no agent of ours it is in a file, which is made,
// used, and replaced once a day.
func TestMadeKey(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	name := filepath.Join(r.dir, ".ssh", "ssmpipe", "key")
	r.configure(t, "", "IdentityFile "+name, "IdentityAgent none")
	connect := func() string {
		t.Helper()
		before := len(r.pushes())
		succeed(t, r.command(t, "ssh", node1, "true"), nil)
		sent := r.pushes()
		if len(sent) != before+1 || r.Calls("SendSSHPublicKey") != before+1 {
			t.Fatalf("%+v", sent)
		}
		waitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
		return sent[before].key
	}
	first := connect() // ssh had started without it
	for path, want := range map[string]os.FileMode{name: 0o600, name + ".pub": 0o600, filepath.Dir(name): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	if second := connect(); second != first {
		t.Error("a new key in the same minute")
	}
	yesterday := time.Now().Add(-25 * time.Hour)
	os.Chtimes(name, yesterday, yesterday)
	if third := connect(); third != first {
		t.Error("the key was replaced before ssh was through with it")
	}
	waitFor(t, "another key", func() bool { return !bytes.HasPrefix(readFile(t, name+".pub"), []byte(first)) })
	if fourth := connect(); fourth == first {
		t.Error("the old key again")
	}
	list, _ := os.ReadDir(filepath.Dir(name))
	if len(list) != 3 { // and the lock
		t.Errorf("%v", list)
	}
	// Somebody else's file is left alone.
	writeFile(t, name, string(readFile(t, r.far+"/id")))
	if got := run(t, r.command(t, "ssh", node1, "true"), nil); !strings.Contains(got.stderr, name+" is not a key that ssmpipe has made") {
		t.Errorf("%+v", got)
	}
	equal(t, "the foreign key", readFile(t, name), readFile(t, r.far+"/id"))
}

// TestPushNotPossible: nothing is sent that cannot succeed or is not meant, and
// ssh is not hindered where it may have another key.
func TestPushNotPossible(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	r.AddNode(awstest.Node{ID: managed, Node: ssmtest.Node{Dial: r.dial}})
	long := "/" + strings.Repeat("x", 200)
	open := filepath.Join(r.dir, "open")
	os.Mkdir(open, 0o700)
	os.Chmod(open, 0o750)
	taken := filepath.Join(r.dir, "taken")
	writeFile(t, taken, "precious")
	os.Chmod(r.dir, 0o700)
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--push-key", node1}, 0, "was not started by OpenSSH, and does not know the user; say it with --user"},
		{[]string{"--push-key=magic", "--user", "a", node1}, 2, "it is instance-connect or run-command"},
		{[]string{"--push-key", "--user", "../../etc/passwd", node1}, 2, "is not a user's name"},
		{[]string{"--key", "made", node1}, 2, "--key needs --push-key"},
		{[]string{"--push-key", "--user", "a", "--key", "made", "--identity-agent", "/a/b", node1}, 2, "no --key beside it"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", "a/b", node1}, 2, "not an absolute path"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", r.dir + "/a/../../x", node1}, 2, "not the plain path"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", long, node1}, 2, "too long for a socket"},
		{[]string{"--push-key", "--user", "a", "--via", node1, "host"}, 2, "--via"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", open + "/s", node1}, 0, "open to others (mode 0750): it must be this user's, with mode 0700; ssh goes on"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", taken, node1}, 0, "not made by ssmpipe"},
		{[]string{"--push-key", "--user", userName(), managed}, 0, "--push-key=run-command"},
		{[]string{"--push-key", "--user", "a b\x1b[2J;id", node1}, 0, `"a b\x1b[2J;id": not a name that a key can be pushed for`},
		{[]string{"--push-key", "--user", "-oProxyCommand=x", node1}, 0, "not a name"},
		{[]string{"--push-key", "--user", "a", "--key", r.dir + "/none", node1}, 0, "/none: no such file"},
	} {
		args := append([]string{"proxy", "--region", "us-east-1"}, c.args...)
		cmd := exec.Command(ssmpipe, append(args, r.port)...)
		cmd.Env = r.env
		got := run(t, cmd, strings.NewReader("SSH-2.0-test\r\nnonsense, which sshd ends\r\n"))
		if c.status != got.status && (c.status != 0 || len(got.stdout) == 0) || !strings.Contains(got.stderr, c.want) || strings.ContainsRune(got.stderr, '\x1b') || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%q: %+v", c.args, got)
		}
	}
	equal(t, "what was there", readFile(t, taken), []byte("precious"))
	if sent := r.pushes(); len(sent) != 0 {
		t.Errorf("sent %+v", sent)
	}
}

// TestRunCommandPush: a node without Instance Connect gets the key by a script,
// and ssh waits for its end.
func TestRunCommandPush(t *testing.T) {
	t.Parallel()
	need(t, "sh")
	r := newKeyRig(t)
	r.configure(t, "--push-key=run-command --identity-agent "+r.dir+"/a/%r@%h.%p", "IdentityAgent "+r.dir+"/a/%r@%h.%p", "IdentityFile none")
	r.AddNode(awstest.Node{ID: managed, Run: r.runScript, RunDelay: 100 * time.Millisecond, Node: ssmtest.Node{Dial: r.dial}})
	asked := 0
	r.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "GetCommandInvocation" {
			if asked++; asked == 1 { // it is not known everywhere yet
				return &ssmtest.APIError{Status: 400, Code: "InvocationDoesNotExist"}
			}
		}
		return nil
	})
	if out := succeed(t, r.command(t, "ssh", managed, "cat "+r.far+"/home/.ssh/authorized_keys"), nil); !strings.Contains(string(out), "ssh-ed25519 ") {
		t.Errorf("%s", out)
	}
	// What the script says is told, in one line.
	os.RemoveAll(filepath.Join(r.far, "home"))
	writeFile(t, filepath.Join(r.far, "home"), "no directory")
	want := fmt.Sprintf("ssmpipe: %s: no key pushed for %q: the command on the machine ended as Failed: ", managed, userName())
	if got := run(t, r.command(t, "ssh", managed, "true"), nil); got.status != 255 || !strings.HasPrefix(got.stderr, want) || strings.Count(got.stderr, "\n") != 2 {
		t.Errorf("%+v", got)
	}
	for _, action := range []string{"ssm:SendCommand", "ssm:GetCommandInvocation"} {
		r.DenyActions(action)
		want = "; allow ssm:SendCommand on the node and on the document AWS-RunShellScript, and ssm:GetCommandInvocation\n"
		if got := run(t, r.command(t, "ssh", managed, "true"), nil); got.status != 255 || !strings.Contains(got.stderr, "AccessDeniedException: ") || !strings.Contains(got.stderr, want) {
			t.Errorf("without %s: %+v", action, got)
		}
	}
}

const managed = "mi-0123456789abcdef0"

// TestPushFollowsTheName: the key goes to the machine that a name leads to, and
// one that was kept too long leads to its successor.
func TestPushFollowsTheName(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	r.AddNode(awstest.Node{ID: node1, Name: "web", Node: ssmtest.Node{Dial: r.dial}})
	writeFile(t, r.config, "Host web*\n    HostName web\n"+strings.ReplaceAll(string(readFile(t, r.config)), "Host i-* mi-*", "Host web*"))
	succeed(t, r.command(t, "ssh", "web", "true"), nil)
	r.AddNode(awstest.Node{ID: node1, Name: "web", State: "terminated"})
	r.AddNode(awstest.Node{ID: node2, Name: "web", Node: ssmtest.Node{Dial: r.dial}})
	succeed(t, r.command(t, "ssh", "web", "true"), nil)
	sent := r.pushes()
	if len(sent) != 2 || sent[0].instance != node1 || sent[1].instance != node2 {
		t.Errorf("%+v", sent)
	}
	r.DenyActions("ec2-instance-connect:SendSSHPublicKey")
	want := fmt.Sprintf("ssmpipe: web (%s): no key pushed for %q: AccessDeniedException: ", node2, userName())
	if got := run(t, r.command(t, "ssh", "web", "true"), nil); !strings.HasPrefix(got.stderr, want) {
		t.Errorf("%+v", got)
	}
}
