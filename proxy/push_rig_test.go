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
	r.takeOnly(t, key)
	return key
}

// takeOnly makes sshd take this key of the user's, and none that was pushed until
// the next is. An empty one is none.
func (r *keyRig) takeOnly(t *testing.T, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = key
	r.accept(t)
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
