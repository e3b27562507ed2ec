package rigtest

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

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// Keys is a real sshd that takes the keys that were pushed, a user of ssh who
// has none, and a configuration as it is generated.
type Keys struct {
	*SSH
	Far string // the directory of the keys that sshd takes

	mu     sync.Mutex
	pushed []Pushed
	own    string // a key that sshd takes in any case
}

// Pushed is a key that was pushed, and for whom.
type Pushed struct{ Instance, User, Key string }

// NewKeys starts sshd and the service, and writes the configuration.
func NewKeys(t *testing.T) *Keys {
	t.Helper()
	r := &Keys{SSH: &SSH{}, Far: t.TempDir()}
	// A short name: what follows is the path of a socket.
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r.Dir = dir
	r.Port = StartSSHD(t, r.Far, "AuthorizedKeysFile "+r.Far+"/keys "+r.Far+"/home/.ssh/authorized_keys")
	r.Server = Service(t, Fast, "127.0.0.1:"+r.Port)
	known := make(map[string]int)
	r.OnPublicKeys(func(instance, user string, _ []string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		keys := r.PublicKeys(instance, user) // several are told at once, in any order
		if len(keys) > known[instance] {
			r.pushed = append(r.pushed, Pushed{instance, user, keys[len(keys)-1]})
		}
		known[instance] = len(keys)
		r.accept(t, keys...)
	})
	r.Environ = append(Environ(t, r.Server), "HOME="+r.Dir, "SSH_AUTH_SOCK=")
	r.Config = filepath.Join(r.Dir, "config")
	r.Configure(t, "--identity-agent "+r.Dir+"/a/%r@%h.%p", "IdentityAgent "+r.Dir+"/a/%r@%h.%p", "IdentityFile none")
	return r
}

// accept makes sshd take these keys and the user's own. The lock is held.
func (r *Keys) accept(t *testing.T, keys ...string) {
	part := filepath.Join(r.Far, "keys.part")
	if err := os.WriteFile(part, []byte(r.own+strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(part, filepath.Join(r.Far, "keys")); err != nil {
		t.Error(err)
	}
}

// Configure writes the configuration, with options for proxy --push-key and
// settings of ssh.
func (r *Keys) Configure(t *testing.T, options string, settings ...string) {
	t.Helper()
	WriteFile(t, r.Config, fmt.Sprintf(`
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
`, SSMPipe, options, strings.Join(settings, "\n    "), UserName(), r.Dir))
}

// OnPush has f asked before a push, which is refused with what it returns.
func (r *Keys) OnPush(f func() *ssmtest.APIError) {
	r.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "SendSSHPublicKey" {
			return f()
		}
		return nil
	})
}

// Pushes returns what was pushed until now.
func (r *Keys) Pushes() []Pushed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pushed
}

// StartAgent runs the user's own ssh-agent, with a key that sshd takes.
func (r *Keys) StartAgent(t *testing.T) (key string) {
	t.Helper()
	socket := filepath.Join(r.Dir, "own")
	agent := exec.Command(Need(t, "ssh-agent"), "-D", "-a", socket)
	Start(t, agent)
	WaitFor(t, "ssh-agent", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	r.Environ = append(r.Environ, "SSH_AUTH_SOCK="+socket)
	add := exec.Command(Need(t, "ssh-add"), "-q", filepath.Join(r.Far, "id"))
	add.Env = r.Environ
	Succeed(t, add, nil)
	key = string(ReadFile(t, filepath.Join(r.Far, "id.pub")))
	r.TakeOnly(t, key)
	return key
}

// TakeOnly makes sshd take this key of the user's, and none that was pushed until
// the next is. An empty one is none.
func (r *Keys) TakeOnly(t *testing.T, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = key
	r.accept(t)
}

// AgentDir is what is in the directory of the sockets, with modes.
func (r *Keys) AgentDir(t *testing.T) string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(r.Dir, "a"))
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

// Dial connects to sshd, whatever the address.
func (r *Keys) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+r.Port)
}

// RunScript is the agent's part of Run Command. The user's home is r.far/home.
func (r *Keys) RunScript(ctx context.Context, script string) (stdout, stderr string, exit int) {
	bin := filepath.Join(r.Far, "bin")
	os.Mkdir(bin, 0o755)
	os.WriteFile(filepath.Join(bin, "getent"), fmt.Appendf(nil, "#!/bin/sh\n[ $2 = %s ] && echo %[1]s:x:%d:0::%s/home:/bin/sh\n", UserName(), os.Getuid(), r.Far), 0o755)
	os.Mkdir(filepath.Join(r.Far, "home"), 0o755)
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	cmd.Run()
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}
