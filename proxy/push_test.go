package proxy_test

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

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

var accessDenied = &ssmtest.APIError{Status: 400, Code: "AccessDeniedException", Message: "User: arn:aws:iam::123456789012:user/example is not authorized to perform: ec2-instance-connect:SendSSHPublicKey"}
