package stdio_test

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestSSHOfSomebodyWithoutAKey is what --push-key is for: it works, in silence,
// and leaves nothing.
func TestSSHOfSomebodyWithoutAKey(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	// While ssh runs there is a link to a socket, and no key in a file.
	out := rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "ls -lA "+r.Dir+"/a; ls -ld "+r.Dir+"/a"), nil)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "srw-------") || !strings.HasPrefix(lines[2], "lrwxrwxrwx") || !strings.HasPrefix(lines[3], "drwx------") {
		t.Errorf("%s", out)
	}
	rigtest.WaitFor(t, "end of the socket", func() bool { return r.AgentDir(t) == "" })
	sent := r.Pushes()
	if len(sent) != 1 || sent[0].Instance != rigtest.Node1 || sent[0].User != rigtest.UserName() || !strings.HasPrefix(sent[0].Key, "ssh-ed25519 ") {
		t.Errorf("%+v", sent)
	}
	// The next one has another key.
	rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil)
	if sent := r.Pushes(); len(sent) != 2 || sent[1].Key == sent[0].Key {
		t.Errorf("%+v", sent)
	}
	rigtest.Succeed(t, r.Command(t, "scp", "-q", r.Config, rigtest.Node1+":"+r.Dir+"/copy"), nil)
	rigtest.Equal(t, "scp", rigtest.ReadFile(t, r.Dir+"/copy"), rigtest.ReadFile(t, r.Config))
}

// TestPushCostsNoRoundTrip: it and StartSession are under way at the same time.
func TestPushCostsNoRoundTrip(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
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
	rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil)
}

// TestSSHDoesNotOfferAKeyBeforeItIsKnown, however long the push takes.
func TestSSHDoesNotOfferAKeyBeforeItIsKnown(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	var stderr rigtest.Output
	r.OnPush(func() *ssmtest.APIError {
		rigtest.WaitFor(t, "key exchange", func() bool { return strings.Contains(stderr.String(), "SSH2_MSG_NEWKEYS received") })
		return nil
	})
	cmd := r.Command(t, "ssh", "-v", rigtest.Node1, "true")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || !strings.Contains(stderr.String(), "Offering public key: ssmpipe ED25519") {
		t.Errorf("%v: %s", err, &stderr)
	}
}

// TestSSHWithAKeyFileWaitsForThePush: the banner comes when the key is known.
func TestSSHWithAKeyFileWaitsForThePush(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	r.Configure(t, "--key "+r.Far+"/id", "IdentityFile "+r.Far+"/id", "IdentityAgent none")
	var stderr rigtest.Output
	banner := func() bool { return strings.Contains(stderr.String(), "Remote protocol version") }
	r.OnPush(func() *ssmtest.APIError {
		rigtest.WaitFor(t, "session", func() bool { return r.ActiveSessions() == 1 })
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if banner() {
				t.Error("the banner has come before the key was known")
				break
			}
		}
		return nil
	})
	cmd := r.Command(t, "ssh", "-v", rigtest.Node1, "true")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || !banner() {
		t.Errorf("%v: %s", err, &stderr)
	}
	if sent := r.Pushes(); len(sent) != 1 || !strings.HasPrefix(string(rigtest.ReadFile(t, r.Far+"/id.pub")), sent[0].Key) {
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
		"permission": {accessDenied, `AccessDeniedException: User: arn:aws:iam::123456789012:user/example is not authorized to perform: ec2-instance-connect:SendSSHPublicKey; allow ec2-instance-connect:SendSSHPublicKey on the instance, with ec2:osuser ` + rigtest.UserName()},
		"state":      {&ssmtest.APIError{Status: 400, Code: "EC2InstanceStateInvalidException", Message: "not running\x1b[31m."}, "EC2InstanceStateInvalidException: not running [31m; the instance must be running: start it, or wait until it is up"},
		"arguments":  {&ssmtest.APIError{Status: 400, Code: "InvalidArgsException", Message: "no"}, "InvalidArgsException: no; check the user's name and the key"},
		"another":    {&ssmtest.APIError{Status: 400, Code: "EC2InstanceNotFoundException", Message: ""}, "EC2InstanceNotFoundException; check the region and the account"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rigtest.NewKeys(t)
			r.OnPush(func() *ssmtest.APIError { return c.err })
			want := fmt.Sprintf("ssmpipe: %s: no key pushed for %q: %s\n", rigtest.Node1, rigtest.UserName(), c.want)
			got := rigtest.Run(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil)
			if rest, ok := strings.CutPrefix(got.Stderr, want); got.Status != 255 || !ok || !strings.Contains(rest, "Permission denied") || strings.Count(rest, "\n") != 1 {
				t.Errorf("without a key: %+v", got)
			}
			r.StartAgent(t)
			if got := rigtest.Run(t, r.Command(t, "ssh", rigtest.Node1, "echo in"), nil); got.Status != 0 || got.Stderr != want || string(got.Stdout) != "in\n" {
				t.Errorf("with a key in the agent: %+v", got)
			}
		})
	}
}

// TestUsersOwnAgent: through ours ssh sees the user's keys, and the far side
// those alone.
func TestUsersOwnAgent(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	key := r.StartAgent(t)
	cmd := r.Command(t, "ssh", "-A", rigtest.Node1, "ssh-add -L; SSH_AUTH_SOCK="+r.Dir+"/a/"+rigtest.UserName()+"@"+rigtest.Node1+".22 ssh-add -L")
	lines := strings.SplitAfter(string(rigtest.Succeed(t, cmd, nil)), "\n")
	if len(lines) != 4 || lines[0] != key || !strings.HasSuffix(lines[1], " ssmpipe\n") || lines[2] != key {
		t.Errorf("%q", lines)
	}
	// What changes the agent changes the user's.
	rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "SSH_AUTH_SOCK="+r.Dir+"/a/"+rigtest.UserName()+"@"+rigtest.Node1+".22 ssh-add -q -D"), nil)
	list := exec.Command(rigtest.Need(t, "ssh-add"), "-L")
	list.Env = r.Environ
	if got := rigtest.Run(t, list, nil); got.Status != 1 {
		t.Errorf("%+v", got)
	}
}

// TestManyConnectionsShareThePath: each finds a key, and no one takes another's
// socket away, which ssh -A needs for as long as it runs.
func TestManyConnectionsShareThePath(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	key := r.StartAgent(t)
	long := r.Command(t, "ssh", "-A", rigtest.Node1, "cat > /dev/null; ssh-add -L")
	stdin, err := long.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout rigtest.Output
	long.Stdout = &stdout
	rigtest.Start(t, long)
	rigtest.WaitFor(t, "first connection", func() bool { return len(r.Pushes()) == 1 && r.ActiveSessions() == 1 })
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil) })
	}
	wg.Wait()
	rigtest.WaitFor(t, "end of the others", func() bool { return strings.Count(r.AgentDir(t), "\n") == 2 })
	stdin.Close()
	if err := long.Wait(); err != nil || stdout.String() != key {
		t.Errorf("%v: %q", err, stdout.String())
	}
	rigtest.WaitFor(t, "end of all", func() bool { return r.AgentDir(t) == "" })
}

// TestPushAfterAKill: what a killed process leaves is cleared away by the next.
func TestPushAfterAKill(t *testing.T) {
	t.Parallel()
	r := rigtest.NewKeys(t)
	p := exec.Command(rigtest.SSMPipe, "proxy", "--push-key", "--user", rigtest.UserName(), "--identity-agent", r.Dir+"/a/"+rigtest.UserName()+"@"+rigtest.Node1+".22", rigtest.Node1)
	p.Env = r.Environ
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	rigtest.Start(t, p)
	rigtest.WaitFor(t, "session", func() bool { return r.ActiveSessions() == 1 && len(r.Pushes()) == 1 })
	p.Process.Kill()
	p.Wait()
	if strings.Count(r.AgentDir(t), "\n") != 2 {
		t.Errorf("%s", r.AgentDir(t))
	}
	rigtest.Succeed(t, r.Command(t, "ssh", rigtest.Node1, "true"), nil)
	rigtest.WaitFor(t, "end of both sockets", func() bool { return r.AgentDir(t) == "" })
	for _, s := range r.Sessions() {
		s.End("") // the killed one's
	}
}

var accessDenied = &ssmtest.APIError{Status: 400, Code: "AccessDeniedException", Message: "User: arn:aws:iam::123456789012:user/example is not authorized to perform: ec2-instance-connect:SendSSHPublicKey"}
