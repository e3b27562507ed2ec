//go:build unix

package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// A testSSHD is an sshd on plain TCP, and how OpenSSH's client gets in.
type testSSHD struct {
	*sshd
	dir     string
	client  key
	options []string // the same for ssh, scp and sftp
}

func newTestSSHD(t *testing.T) *testSSHD {
	t.Helper()
	need(t, "ssh")
	checkGoroutines(t)
	s := &testSSHD{dir: t.TempDir()}
	host, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	if s.client, err = newKey(); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(s.dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	network := make(hosts)
	s.sshd, err = startSSHD("i-0test", home, host.signer, s.client.signer.PublicKey(), network.dialFrom("i-0test"))
	if err != nil {
		t.Fatal(err)
	}
	network["i-0test"] = s.Addr()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	private, err := s.client.privateFile()
	if err != nil {
		t.Fatal(err)
	}
	keyFile, known := filepath.Join(s.dir, "key"), filepath.Join(s.dir, "known_hosts")
	writeFile(t, keyFile, private)
	writeFile(t, known, []byte("i-0test "+host.publicLine()+"\n"))
	_, port, _ := net.SplitHostPort(s.Addr())
	s.options = []string{
		"-F", "none", "-o", "HostName=127.0.0.1", "-o", "Port=" + port, "-o", "HostKeyAlias=i-0test",
		"-o", "User=tester", "-o", "IdentityFile=" + keyFile, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "UserKnownHostsFile=" + known, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
	}
	return s
}

// tool is one of OpenSSH's commands with the options that lead here.
func (s *testSSHD) tool(name string, args ...string) *exec.Cmd {
	return exec.Command(name, append(append([]string(nil), s.options...), args...)...)
}

func (s *testSSHD) ssh(args ...string) *exec.Cmd {
	return s.tool("ssh", append([]string{"i-0test"}, args...)...)
}

func TestExecPassesStatusAndOutputs(t *testing.T) {
	s := newTestSSHD(t)
	stdout, stderr, status := run(t, s.ssh("echo out; echo err >&2; exit 7"))
	if stdout != "out\n" || stderr != "err\n" || status != 7 {
		t.Errorf("stdout %q, stderr %q, status %d", stdout, stderr, status)
	}
}

func TestExecRunsInHomeAsTheLogin(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "of the demo's user")
	s := newTestSSHD(t)
	cmd := s.tool("ssh", "-o", "SetEnv=GREETING=hello", "i-0test", `pwd; echo $HOME $USER $GREETING; env | grep -c AWS_`)
	home, _ := filepath.EvalSymlinks(s.home)
	stdout, _, _ := run(t, cmd)
	if want := fmt.Sprintf("%s\n%s tester hello\n0\n", home, s.home); stdout != want {
		t.Errorf("got %q, want %q", stdout, want)
	}
}

func TestExecPassesStdinToItsEnd(t *testing.T) {
	s := newTestSSHD(t)
	data := randomBytes(3<<20 + 7)
	cmd := s.ssh("cat")
	cmd.Stdin = bytes.NewReader(data)
	if got := succeed(t, cmd); got != string(data) {
		t.Errorf("cat gave %d bytes for %d, or others", len(got), len(data))
	}
}

func TestExecEndsThoughStdinIsNotRead(t *testing.T) {
	s := newTestSSHD(t)
	cmd := s.ssh("exec <&-; echo done; exit 3")
	cmd.Stdin = bytes.NewReader(randomBytes(8 << 20))
	if stdout, _, status := run(t, cmd); stdout != "done\n" || status != 3 {
		t.Errorf("stdout %q, status %d", stdout, status)
	}
}

func TestShellReadsStdin(t *testing.T) {
	s := newTestSSHD(t)
	cmd := s.tool("ssh", "-T", "i-0test")
	cmd.Stdin = strings.NewReader("echo $((40+2))\nexit 5\n")
	if stdout, stderr, status := run(t, cmd); stdout != "42\n" || status != 5 {
		t.Errorf("stdout %q, stderr %q, status %d", stdout, stderr, status)
	}
}

func TestOtherKeysAreRefused(t *testing.T) {
	s := newTestSSHD(t)
	other, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, auth := range map[string]ssh.AuthMethod{
		"another key": ssh.PublicKeys(other.signer),
		"a password":  ssh.Password(""),
		"nothing":     nil,
	} {
		config := &ssh.ClientConfig{User: "tester", HostKeyCallback: ssh.InsecureIgnoreHostKey()}
		if auth != nil {
			config.Auth = []ssh.AuthMethod{auth}
		}
		if c, err := ssh.Dial("tcp", s.Addr(), config); err == nil {
			c.Close()
			t.Errorf("%s was let in", name)
		}
	}
}

func TestSignalsEndAsSignals(t *testing.T) {
	s := newTestSSHD(t)
	if _, _, status := run(t, s.ssh("kill -KILL $$")); status != 255 {
		t.Errorf("ssh's status of a killed command is %d, want 255", status)
	}
	for _, sig := range []ssh.Signal{ssh.SIGTERM, ssh.SIGUSR1} {
		session := s.newSession(t)
		out, err := session.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Start("echo; sleep 60; exit 0"); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1)) // the shell is up
		if err := session.Signal(sig); err != nil {
			t.Fatal(err)
		}
		var exit *ssh.ExitError
		if err := session.Wait(); !errors.As(err, &exit) || exit.Signal() != string(sig) {
			t.Errorf("ended by %v, want signal %s", err, sig)
		}
	}
}

// newClient is x/crypto's client, for what OpenSSH's cannot do.
func (s *testSSHD) newClient(t *testing.T) *ssh.Client {
	t.Helper()
	c, err := ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{
		User:            "tester",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(s.client.signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *testSSHD) newSession(t *testing.T) *ssh.Session {
	t.Helper()
	session, err := s.newClient(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func TestSFTPPutsAndGets(t *testing.T) {
	need(t, "sftp")
	s := newTestSSHD(t)
	data := randomBytes(1<<20 + 3)
	up, down := filepath.Join(s.dir, "up"), filepath.Join(s.dir, "down")
	writeFile(t, up, data)
	cmd := s.tool("sftp", "-b", "-", "i-0test")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("put %s there\nls -l there\nrename there moved\nget moved %s\n", up, down))
	succeed(t, cmd)
	if !bytes.Equal(readFile(t, down), data) || !bytes.Equal(readFile(t, filepath.Join(s.home, "moved")), data) {
		t.Error("the file changed on its way")
	}
}

func TestSCPCopiesBothWays(t *testing.T) {
	need(t, "scp")
	for name, flags := range map[string][]string{"sftp": {"-s"}, "legacy": {"-O"}} {
		t.Run(name, func(t *testing.T) {
			s := newTestSSHD(t)
			data := randomBytes(1<<20 + 3)
			up, down := filepath.Join(s.dir, "up"), filepath.Join(s.dir, "down")
			writeFile(t, up, data)
			succeed(t, s.tool("scp", append(flags, up, "i-0test:there")...))
			succeed(t, s.tool("scp", append(flags, "i-0test:there", down)...))
			if !bytes.Equal(readFile(t, down), data) {
				t.Error("the file changed on its way")
			}
		})
	}
}

func TestRsyncCopiesATree(t *testing.T) {
	need(t, "rsync")
	s := newTestSSHD(t)
	tree := filepath.Join(s.dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	data := randomBytes(1 << 20)
	writeFile(t, filepath.Join(tree, "sub", "file"), data)
	shell := "ssh " + strings.Join(s.options, " ")
	back := filepath.Join(s.dir, "back")
	succeed(t, exec.Command("rsync", "-a", "-e", shell, tree, "i-0test:"))
	succeed(t, exec.Command("rsync", "-a", "-e", shell, "i-0test:tree/", back))
	if !bytes.Equal(readFile(t, filepath.Join(back, "sub", "file")), data) {
		t.Error("the file changed on its way")
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// echoServer answers each connection with all it said, once that is over.
func echoServer(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				data, _ := io.ReadAll(nc)
				_, _ = nc.Write(data)
			}()
		}
	}()
	return l.Addr().String()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// dialEventually dials until somebody listens.
func dialEventually(t *testing.T, addr string) net.Conn {
	t.Helper()
	var nc net.Conn
	eventually(t, func() bool {
		var err error
		nc, err = new(net.Dialer).DialContext(context.Background(), "tcp", addr)
		return err == nil
	}, func() string { return "nobody listens on " + addr })
	if nc == nil {
		t.FailNow()
	}
	return nc
}
