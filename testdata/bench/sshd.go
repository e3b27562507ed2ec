package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// sshd is a real sshd on loopback, with the keys to log in.
type sshd struct {
	*process
	dir  string
	addr string
}

// startSSHD fails with errSkip if OpenSSH is not installed.
func (b *bench) startSSHD() (*sshd, error) {
	daemon, err := exec.LookPath("sshd")
	if err != nil {
		daemon, err = exec.LookPath("/usr/sbin/sshd")
	}
	for _, tool := range []string{"ssh", "ssh-keygen"} {
		if _, missing := exec.LookPath(tool); missing != nil {
			err = missing
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSkip, err)
	}
	s := &sshd{}
	if s.dir, err = os.MkdirTemp(b.dir, "ssh"); err != nil {
		return nil, err
	}
	for _, key := range []string{"host", "id"} {
		out, err := exec.CommandContext(b.ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.dir, key)).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w\n%s", err, out)
		}
	}
	if os.Getuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // sshd needs it, and some systems make it only at boot
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // sshd cannot choose a port itself
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	l.Close()
	config := filepath.Join(s.dir, "sshd_config")
	err = os.WriteFile(config, fmt.Appendf(nil, `
ListenAddress %[1]s
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/id.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
PrintMotd no
PrintLastLog no
SetEnv HOME=%[2]s
`, s.addr, s.dir), 0o600) // its own HOME, so that the user's start-up files have no effect
	if err != nil {
		return nil, err
	}
	if s.process, err = b.spawn(os.Environ(), daemon, "-D", "-e", "-f", config); err != nil {
		return nil, err
	}
	for end := time.Now().Add(20 * time.Second); ; b.pause(5 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("sshd: %w: %s", s.err, s.stderr.String())
		default:
		}
		if b.ctx.Err() != nil || time.Now().After(end) {
			s.kill()
			return nil, errors.Join(b.ctx.Err(), err)
		}
	}
}

// config writes an ssh configuration in which each host has a ProxyCommand,
// and returns its name.
func (s *sshd) config(hosts map[string]string) (string, error) {
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	var text strings.Builder
	for host, command := range hosts {
		fmt.Fprintf(&text, "Host %s\n    ProxyCommand %s\n", host, command)
	}
	fmt.Fprintf(&text, `Host *
    User %s
    IdentityFile %s/id
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
    BatchMode yes
`, name, s.dir)
	file := filepath.Join(s.dir, "config")
	return file, os.WriteFile(file, []byte(text.String()), 0o600)
}
