package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// keyRig is a real sshd that takes the keys that were pushed, a user of ssh who
// has none, and a configuration as it is generated.
type keyRig struct {
	*sshRig
	far string // the directory of the keys that sshd takes

	mu     sync.Mutex
	pushed []pushedKey
	own    string // a key that sshd takes in any case
}

type pushedKey struct{ instance, user, key string }

func newKeyRig(t *testing.T) *keyRig {
	t.Helper()
	r := &keyRig{sshRig: &sshRig{}, far: t.TempDir()}
	// A short name: what follows is the path of a socket.
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r.dir = dir
	r.port = startSSHD(t, r.far, "AuthorizedKeysFile "+r.far+"/keys "+r.far+"/home/.ssh/authorized_keys")
	r.Server = service(t, fast, "127.0.0.1:"+r.port)
	known := make(map[string]int)
	r.OnPublicKeys(func(instance, user string, _ []string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		keys := r.PublicKeys(instance, user) // several are told at once, in any order
		if len(keys) > known[instance] {
			r.pushed = append(r.pushed, pushedKey{instance, user, keys[len(keys)-1]})
		}
		known[instance] = len(keys)
		r.accept(t, keys...)
	})
	r.env = append(environ(t, r.Server), "HOME="+r.dir, "SSH_AUTH_SOCK=")
	r.config = filepath.Join(r.dir, "config")
	r.configure(t, "--identity-agent "+r.dir+"/a/%r@%h.%p", "IdentityAgent "+r.dir+"/a/%r@%h.%p", "IdentityFile none")
	return r
}

// accept makes sshd take these keys and the user's own. The lock is held.
func (r *keyRig) accept(t *testing.T, keys ...string) {
	part := filepath.Join(r.far, "keys.part")
	if err := os.WriteFile(part, []byte(r.own+strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(part, filepath.Join(r.far, "keys")); err != nil {
		t.Error(err)
	}
}

// configure writes the configuration, with options for proxy --push-key and
// settings of ssh.
func (r *keyRig) configure(t *testing.T, options string, settings ...string) {
	t.Helper()
	writeFile(t, r.config, fmt.Sprintf(`
Host i-* mi-*
    ProxyCommand %s proxy --push-key --user %%r %s --region us-east-1 %%h %%p
Host *
    %s
    User %s
    StrictHostKeyChecking no
    UserKnownHostsFile %s/known_hosts
    LogLevel ERROR
    ControlPath none
    PasswordAuthentication no
`, ssmpipe, options, strings.Join(settings, "\n    "), userName(), r.dir))
}

// onPush has f asked before a push, which is refused with what it returns.
func (r *keyRig) onPush(f func() *ssmtest.APIError) {
	r.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "SendSSHPublicKey" {
			return f()
		}
		return nil
	})
}

func (r *keyRig) pushes() []pushedKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pushed
}

// startAgent runs the user's own ssh-agent, with a key that sshd takes.
func (r *keyRig) startAgent(t *testing.T) (key string) {
	t.Helper()
	socket := filepath.Join(r.dir, "own")
	agent := exec.Command(need(t, "ssh-agent"), "-D", "-a", socket)
	start(t, agent)
	waitFor(t, "ssh-agent", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	r.env = append(r.env, "SSH_AUTH_SOCK="+socket)
	add := exec.Command(need(t, "ssh-add"), "-q", filepath.Join(r.far, "id"))
	add.Env = r.env
	succeed(t, add, nil)
	key = string(readFile(t, filepath.Join(r.far, "id.pub")))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = key
	r.accept(t)
	return key
}

// agentDir is what is in the directory of the sockets, with modes.
func (r *keyRig) agentDir(t *testing.T) string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(r.dir, "a"))
	if err != nil {
		t.Error(err)
	}
	var b strings.Builder
	for _, e := range list {
		info, err := e.Info()
		if err == nil {
			fmt.Fprintln(&b, info.Mode().String(), info.Size(), e.Name())
		}
	}
	return b.String()
}

var accessDenied = &ssmtest.APIError{Status: 400, Code: "AccessDeniedException", Message: "User: arn:aws:iam::123456789012:user/example is not authorized to perform: ec2-instance-connect:SendSSHPublicKey"}

// TestSSHOfSomebodyWithoutAKey is what --push-key is for: it works, in silence,
// and leaves nothing.
func TestSSHOfSomebodyWithoutAKey(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	// While ssh runs there is a link to a socket, and no key in a file.
	out := succeed(t, r.command(t, "ssh", node1, "ls -lA "+r.dir+"/a; ls -ld "+r.dir+"/a"), nil)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "srw-------") || !strings.HasPrefix(lines[2], "lrwxrwxrwx") || !strings.HasPrefix(lines[3], "drwx------") {
		t.Errorf("%s", out)
	}
	waitFor(t, "end of the socket", func() bool { return r.agentDir(t) == "" })
	sent := r.pushes()
	if len(sent) != 1 || sent[0].instance != node1 || sent[0].user != userName() || !strings.HasPrefix(sent[0].key, "ssh-ed25519 ") {
		t.Errorf("%+v", sent)
	}
	// The next one has another key.
	succeed(t, r.command(t, "ssh", node1, "true"), nil)
	if sent := r.pushes(); len(sent) != 2 || sent[1].key == sent[0].key {
		t.Errorf("%+v", sent)
	}
	succeed(t, r.command(t, "scp", "-q", r.config, node1+":"+r.dir+"/copy"), nil)
	equal(t, "scp", readFile(t, r.dir+"/copy"), readFile(t, r.config))
}

// TestPushCostsNoRoundTrip: it and StartSession are under way at the same time.
func TestPushCostsNoRoundTrip(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	both := make(chan bool, 2)
	arrived := make(chan string, 2)
	meet := func(name string) {
		arrived <- name
		select {
		case <-both:
		case <-time.After(10 * time.Second):
			t.Errorf("%s waits for the other", name)
		}
	}
	go func() {
		<-arrived
		<-arrived
		both <- true
		both <- true
	}()
	r.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "StartSession" || operation == "SendSSHPublicKey" {
			meet(operation)
		}
		return nil
	})
	succeed(t, r.command(t, "ssh", node1, "true"), nil)
}

// TestSSHDoesNotOfferAKeyBeforeItIsKnown, however long the push takes.
func TestSSHDoesNotOfferAKeyBeforeItIsKnown(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	var stderr syncBuffer
	r.onPush(func() *ssmtest.APIError {
		waitFor(t, "key exchange", func() bool { return strings.Contains(stderr.String(), "SSH2_MSG_NEWKEYS received") })
		return nil
	})
	cmd := r.command(t, "ssh", "-v", node1, "true")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || !strings.Contains(stderr.String(), "Offering public key: ssmpipe ED25519") {
		t.Errorf("%v: %s", err, &stderr)
	}
}

// TestSSHWithAKeyFileWaitsForThePush: the banner comes when the key is known.
func TestSSHWithAKeyFileWaitsForThePush(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	r.configure(t, "--key "+r.far+"/id", "IdentityFile "+r.far+"/id", "IdentityAgent none")
	var stderr syncBuffer
	banner := func() bool { return strings.Contains(stderr.String(), "Remote protocol version") }
	r.onPush(func() *ssmtest.APIError {
		waitFor(t, "session", func() bool { return r.ActiveSessions() == 1 })
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if banner() {
				t.Error("the banner has come before the key was known")
				break
			}
		}
		return nil
	})
	cmd := r.command(t, "ssh", "-v", node1, "true")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || !banner() {
		t.Errorf("%v: %s", err, &stderr)
	}
	if sent := r.pushes(); len(sent) != 1 || !strings.HasPrefix(string(readFile(t, r.far+"/id.pub")), sent[0].key) {
		t.Errorf("%+v", sent)
	}
}

// syncBuffer is a buffer that is read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestPushRefused: one line says why and what is missing, and ssh goes on with
// what it has.
func TestPushRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  *ssmtest.APIError
		want string
	}{
		"permission": {accessDenied, `AccessDeniedException: User: arn:aws:iam::123456789012:user/example is not authorized to perform: ec2-instance-connect:SendSSHPublicKey; allow ec2-instance-connect:SendSSHPublicKey on the instance, with ec2:osuser ` + userName()},
		"state":      {&ssmtest.APIError{Status: 400, Code: "EC2InstanceStateInvalidException", Message: "not running\x1b[31m."}, "EC2InstanceStateInvalidException: not running [31m; the instance must be running: start it, or wait until it is up"},
		"arguments":  {&ssmtest.APIError{Status: 400, Code: "InvalidArgsException", Message: "no"}, "InvalidArgsException: no; check the user's name and the key"},
		"another":    {&ssmtest.APIError{Status: 400, Code: "EC2InstanceNotFoundException", Message: ""}, "EC2InstanceNotFoundException; check region and account"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newKeyRig(t)
			r.onPush(func() *ssmtest.APIError { return c.err })
			want := fmt.Sprintf("ssmpipe: %s: no key pushed for %q: %s\n", node1, userName(), c.want)
			got := run(t, r.command(t, "ssh", node1, "true"), nil)
			if rest, ok := strings.CutPrefix(got.stderr, want); got.status != 255 || !ok || !strings.Contains(rest, "Permission denied") || strings.Count(rest, "\n") != 1 {
				t.Errorf("without a key: %+v", got)
			}
			r.startAgent(t)
			if got := run(t, r.command(t, "ssh", node1, "echo in"), nil); got.status != 0 || got.stderr != want || string(got.stdout) != "in\n" {
				t.Errorf("with a key in the agent: %+v", got)
			}
		})
	}
}

// TestUsersOwnAgent: through ours ssh sees the user's keys, and the far side
// those alone.
func TestUsersOwnAgent(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	key := r.startAgent(t)
	cmd := r.command(t, "ssh", "-A", node1, "ssh-add -L; SSH_AUTH_SOCK="+r.dir+"/a/"+userName()+"@"+node1+".22 ssh-add -L")
	lines := strings.SplitAfter(string(succeed(t, cmd, nil)), "\n")
	if len(lines) != 4 || lines[0] != key || !strings.HasSuffix(lines[1], " ssmpipe\n") || lines[2] != key {
		t.Errorf("%q", lines)
	}
	// What changes the agent changes the user's.
	succeed(t, r.command(t, "ssh", node1, "SSH_AUTH_SOCK="+r.dir+"/a/"+userName()+"@"+node1+".22 ssh-add -q -D"), nil)
	list := exec.Command(need(t, "ssh-add"), "-L")
	list.Env = r.env
	if got := run(t, list, nil); got.status != 1 {
		t.Errorf("%+v", got)
	}
}

// TestManyConnectionsShareThePath: each finds a key, and no one takes another's
// socket away, which ssh -A needs for as long as it runs.
func TestManyConnectionsShareThePath(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	key := r.startAgent(t)
	long := r.command(t, "ssh", "-A", node1, "cat > /dev/null; ssh-add -L")
	stdin, err := long.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout syncBuffer
	long.Stdout = &stdout
	start(t, long)
	waitFor(t, "first connection", func() bool { return len(r.pushes()) == 1 && r.ActiveSessions() == 1 })
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { succeed(t, r.command(t, "ssh", node1, "true"), nil) })
	}
	wg.Wait()
	waitFor(t, "end of the others", func() bool { return strings.Count(r.agentDir(t), "\n") == 2 })
	stdin.Close()
	if err := long.Wait(); err != nil || stdout.String() != key {
		t.Errorf("%v: %q", err, stdout.String())
	}
	waitFor(t, "end of all", func() bool { return r.agentDir(t) == "" })
}

// TestPushAfterAKill: what a killed process leaves is cleared away by the next.
func TestPushAfterAKill(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	p := exec.Command(ssmpipe, "proxy", "--push-key", "--user", userName(), "--identity-agent", r.dir+"/a/"+userName()+"@"+node1+".22", node1)
	p.Env = r.env
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	start(t, p)
	waitFor(t, "session", func() bool { return r.ActiveSessions() == 1 && len(r.pushes()) == 1 })
	p.Process.Kill()
	p.Wait()
	if strings.Count(r.agentDir(t), "\n") != 2 {
		t.Errorf("%s", r.agentDir(t))
	}
	succeed(t, r.command(t, "ssh", node1, "true"), nil)
	waitFor(t, "end of both sockets", func() bool { return r.agentDir(t) == "" })
	for _, s := range r.Sessions() {
		s.End("") // the killed one's
	}
}

// TestKeyOfTheAgent: without a socket and a file it is the user's agent's.
func TestKeyOfTheAgent(t *testing.T) {
	t.Parallel()
	r := newKeyRig(t)
	key := r.startAgent(t)
	r.mu.Lock()
	r.own = ""
	r.accept(t)
	r.mu.Unlock()
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

func (r *keyRig) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+r.port)
}

// runScript is the agent's part of Run Command. The user's home is r.far/home.
func (r *keyRig) runScript(ctx context.Context, script string) (stdout, stderr string, exit int) {
	bin := filepath.Join(r.far, "bin")
	os.Mkdir(bin, 0o755)
	os.WriteFile(filepath.Join(bin, "getent"), fmt.Appendf(nil, "#!/bin/sh\n[ $2 = %s ] && echo %[1]s:x:%d:0::%s/home:/bin/sh\n", userName(), os.Getuid(), r.far), 0o755)
	os.Mkdir(filepath.Join(r.far, "home"), 0o755)
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	cmd.Run()
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

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
