package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/openssh"
)

// A ProxyCommand could get the user with %r, but other programs that read ssh's
// configuration, such as Ruby's net-ssh, fail on that token. So we ask the ssh
// that started us: "ssh -G" with the same arguments prints how ssh interprets
// them and its configuration.

// ErrNoSSH says that this process was not started by OpenSSH.
var ErrNoSSH = errors.New("ssmpipe was not started by OpenSSH, so it does not know the user")

// process describes a running process.
type process struct {
	exe    string   // its executable; "" if not known
	args   []string // including its name
	parent int      // 0 if not known
}

// maxShells is how many processes may be between ssh and us: a shell, a user's
// wrapper.
const maxShells = 3

var openSSHName = regexp.MustCompile(`^(hpn)?ssh([-._]?[0-9][-._0-9a-z]*)?(\.real)?(\.exe)?$`)

// SSHUser returns the user that ssh logs in as, for the ssh whose ProxyCommand
// is this process. The error is [ErrNoSSH] if no ssh started it.
func SSHUser(ctx context.Context) (string, error) {
	pid := os.Getppid()
	for range maxShells {
		p, err := processOf(pid)
		if err != nil {
			return "", fmt.Errorf("%w (%w)", ErrNoSSH, err)
		}
		if len(p.args) > 0 && (isSSH(p.exe) || isSSH(p.args[0])) {
			return p.user(ctx)
		}
		if pid = p.parent; pid <= 1 {
			break
		}
	}
	return "", ErrNoSSH
}

func isSSH(path string) bool {
	return openSSHName.MatchString(strings.ToLower(path[strings.LastIndexAny(path, `/\`)+1:]))
}

func (p *process) user(ctx context.Context) (string, error) {
	exe := p.exe
	if _, err := os.Stat(exe); exe == "" || err != nil { // replaced while running
		var err error
		if exe, err = exec.LookPath(p.args[0]); err != nil {
			return "", fmt.Errorf("%w (%w)", ErrNoSSH, err)
		}
	}
	said, _, err := openssh.Ask(ctx, exe, append([]string{"-G"}, p.args[1:]...)...)
	if err != nil {
		return "", fmt.Errorf("%s -G does not report the user: %w", filepath.Base(exe), err)
	}
	for line := range strings.Lines(said) {
		if user, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "user "); ok {
			return user, nil
		}
	}
	return "", fmt.Errorf("%s -G does not report the user", filepath.Base(exe))
}
