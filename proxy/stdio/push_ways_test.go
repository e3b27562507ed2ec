package stdio_test

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
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestKeyOfTheAgent: without a socket and a file it is the user's agent's.
func TestKeyOfTheAgent(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	key := r.StartAgent(t)
	r.TakeOnly(t, "")
	r.Configure(t, "", "IdentityFile none")
	rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil)
	if sent := r.Pushes(); len(sent) != 1 || !strings.HasPrefix(key, sent[0].Key) {
		t.Errorf("%+v", sent)
	}
	r.Configure(t, "--key agent", "IdentityFile none")
	r.Environ = append(r.Environ, "SSH_AUTH_SOCK="+r.Dir+"/none")
	if got := rigtest.Run(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil); !strings.Contains(got.Stderr, "the ssh-agent has no key that can be pushed") || !strings.Contains(got.Stderr, "add a key with ssh-add") {
		t.Errorf("%+v", got)
	}
}

// TestMadeKey: where there is no agent of ours it is in a file, which is made,
// used, and replaced once a day.
func TestMadeKey(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	name := filepath.Join(r.Dir, ".ssh", "ssmpipe", "key")
	r.Configure(t, "", "IdentityFile "+name, "IdentityAgent none")
	connect := func() string {
		t.Helper()
		before := len(r.Pushes())
		rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil)
		sent := r.Pushes()
		if len(sent) != before+1 || r.Calls("SendSSHPublicKey") != before+1 {
			t.Fatalf("%+v", sent)
		}
		rigtest.WaitFor(t, "end of the session", func() bool { return r.ActiveSessions() == 0 })
		return sent[before].Key
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
	rigtest.WaitFor(t, "another key", func() bool { return !bytes.HasPrefix(rigtest.ReadFile(t, name+".pub"), []byte(first)) })
	if fourth := connect(); fourth == first {
		t.Error("the old key again")
	}
	list, _ := os.ReadDir(filepath.Dir(name))
	if len(list) != 3 { // and the lock
		t.Errorf("%v", list)
	}
	// Somebody else's file is left alone.
	rigtest.WriteFile(t, name, string(rigtest.ReadFile(t, r.Far+"/id")))
	if got := rigtest.Run(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil); !strings.Contains(got.Stderr, name+" is not a key made by ssmpipe") {
		t.Errorf("%+v", got)
	}
	rigtest.Equal(t, "the foreign key", rigtest.ReadFile(t, name), rigtest.ReadFile(t, r.Far+"/id"))
}

// TestPushNotPossible: nothing is sent that cannot succeed or is not meant, and
// ssh is not hindered where it may have another key.
func TestPushNotPossible(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	r.AddNode(awstest.Node{ID: managed, Node: ssmtest.Node{Dial: r.Dial}})
	long := "/" + strings.Repeat("x", 200)
	open := filepath.Join(r.Dir, "open")
	os.Mkdir(open, 0o700)
	os.Chmod(open, 0o750)
	taken := filepath.Join(r.Dir, "taken")
	rigtest.WriteFile(t, taken, "precious")
	os.Chmod(r.Dir, 0o700)
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--push-key", rigtest.Node1}, 0, "was not started by OpenSSH, so it does not know the user; name the user with --user"},
		{[]string{"--push-key=magic", "--user", "a", rigtest.Node1}, 2, "it must be instance-connect or run-command"},
		{[]string{"--push-key", "--user", "../../etc/passwd", rigtest.Node1}, 2, "is not a user name"},
		{[]string{"--key", "made", rigtest.Node1}, 2, "--key needs --push-key"},
		{[]string{"--push-key", "--user", "a", "--key", "made", "--identity-agent", "/a/b", rigtest.Node1}, 2, "leave out --key"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", "a/b", rigtest.Node1}, 2, "not an absolute path"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", r.Dir + "/a/../../x", rigtest.Node1}, 2, "not the plain path"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", long, rigtest.Node1}, 2, "too long for a socket"},
		{[]string{"--push-key", "--user", "a", "--via", rigtest.Node1, "host"}, 2, "--via"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", open + "/s", rigtest.Node1}, 0, "it is open to others (mode 0750): the directory must belong to this user, with mode 0700; ssh goes on"},
		{[]string{"--push-key", "--user", "a", "--identity-agent", taken, rigtest.Node1}, 0, "was not made by ssmpipe"},
		{[]string{"--push-key", "--user", rigtest.UserName(), managed}, 0, "--push-key=run-command"},
		{[]string{"--push-key", "--user", "a b\x1b[2J;id", rigtest.Node1}, 0, `"a b\x1b[2J;id": a key cannot be pushed for a user of this name`},
		{[]string{"--push-key", "--user", "-oProxyCommand=x", rigtest.Node1}, 0, "a user of this name"},
		{[]string{"--push-key", "--user", "a", "--key", r.Dir + "/none", rigtest.Node1}, 0, "/none: no such file"},
	} {
		args := append([]string{"proxy", "--region", "us-east-1"}, c.args...)
		cmd := exec.Command(rigtest.SSMPipe, append(args, r.Port)...)
		cmd.Env = r.Environ
		got := rigtest.Run(t, cmd, strings.NewReader("SSH-2.0-test\r\nnonsense, which sshd ends\r\n"))
		if c.status != got.Status && (c.status != 0 || len(got.Stdout) == 0) || !strings.Contains(got.Stderr, c.want) || strings.ContainsRune(got.Stderr, '\x1b') || strings.Count(got.Stderr, "\n") != 1 {
			t.Errorf("%q: %+v", c.args, got)
		}
	}
	rigtest.Equal(t, "what was there", rigtest.ReadFile(t, taken), []byte("precious"))
	if sent := r.Pushes(); len(sent) != 0 {
		t.Errorf("sent %+v", sent)
	}
}

// TestRunCommandPush: a node without Instance Connect gets the key by a script,
// and ssh waits for its end.
func TestRunCommandPush(t *testing.T) {
	t.Parallel()
	rigtest.Need(t, "sh")
	r := rigtest.NewKeys(t)
	r.Configure(t, "--push-key=run-command --identity-agent "+r.Dir+"/a/%r@%h.%p", "IdentityAgent "+r.Dir+"/a/%r@%h.%p", "IdentityFile none")
	r.AddNode(awstest.Node{ID: managed, Run: r.RunScript, RunDelay: 100 * time.Millisecond, Node: ssmtest.Node{Dial: r.Dial}})
	asked := 0
	r.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "GetCommandInvocation" {
			if asked++; asked == 1 { // it is not known everywhere yet
				return &ssmtest.APIError{Status: 400, Code: "InvocationDoesNotExist"}
			}
		}
		return nil
	})
	if out := rigtest.Succeed(t, r.Command(t, "ssh", managed, "cat "+r.Far+"/home/.ssh/authorized_keys"), nil); !strings.Contains(string(out), "ssh-ed25519 ") {
		t.Errorf("%s", out)
	}
	// What the script says is told, in one line.
	os.RemoveAll(filepath.Join(r.Far, "home"))
	rigtest.WriteFile(t, filepath.Join(r.Far, "home"), "no directory")
	want := fmt.Sprintf("ssmpipe: %s: no key pushed for %q: the command on the machine ended with status Failed: ", managed, rigtest.UserName())
	if got := rigtest.Run(t, r.Command(t, "ssh", managed, "true"), nil); got.Status != 255 || !strings.HasPrefix(got.Stderr, want) || strings.Count(got.Stderr, "\n") != 2 {
		t.Errorf("%+v", got)
	}
	for _, action := range []string{"ssm:SendCommand", "ssm:GetCommandInvocation"} {
		r.DenyActions(action)
		want = "; allow ssm:SendCommand on the node and on the document AWS-RunShellScript, and ssm:GetCommandInvocation\n"
		if got := rigtest.Run(t, r.Command(t, "ssh", managed, "true"), nil); got.Status != 255 || !strings.Contains(got.Stderr, "AccessDeniedException: ") || !strings.Contains(got.Stderr, want) {
			t.Errorf("without %s: %+v", action, got)
		}
	}
}

const managed = "mi-0123456789abcdef0"

// TestPushFollowsTheName: the key goes to the machine that a name leads to, and
// one that was kept too long leads to its successor.
func TestPushFollowsTheName(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	r.AddNode(awstest.Node{ID: rigtest.Node1, Name: "web", Node: ssmtest.Node{Dial: r.Dial}})
	rigtest.WriteFile(t, r.Config, "Host web*\n    HostName web\n"+strings.ReplaceAll(string(rigtest.ReadFile(t, r.Config)), "Host i-* mi-*", "Host web*"))
	rigtest.Succeed(t, r.Command(t, "ssh", "web", "true"), nil)
	r.AddNode(awstest.Node{ID: rigtest.Node1, Name: "web", State: "terminated"})
	r.AddNode(awstest.Node{ID: rigtest.Node2, Name: "web", Node: ssmtest.Node{Dial: r.Dial}})
	rigtest.Succeed(t, r.Command(t, "ssh", "web", "true"), nil)
	sent := r.Pushes()
	if len(sent) != 2 || sent[0].Instance != rigtest.Node1 || sent[1].Instance != rigtest.Node2 {
		t.Errorf("%+v", sent)
	}
	r.DenyActions("ec2-instance-connect:SendSSHPublicKey")
	want := fmt.Sprintf("ssmpipe: web (%s): no key pushed for %q: AccessDeniedException: ", rigtest.Node2, rigtest.UserName())
	if got := rigtest.Run(t, r.Command(t, "ssh", "web", "true"), nil); !strings.HasPrefix(got.Stderr, want) {
		t.Errorf("%+v", got)
	}
}
