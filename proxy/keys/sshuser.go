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

// A ProxyCommand could say the user by %r, but other programs that read ssh's
// configuration, such as Ruby's net-ssh, end when they meet it. So the ssh that
// has started us is asked: "ssh -G" with its own arguments says what it makes
// of them and of its configuration.

// ErrNoSSH says that whoever has started this process is no OpenSSH.
var ErrNoSSH = errors.New("ssmpipe was not started by OpenSSH, and does not know the user")

// process is what is known of one that runs.
type process struct {
	exe    string   // its file; "" if that is not known
	args   []string // with its name
	parent int      // 0 if that is not known
}

// maxShells is how many processes may stand between ssh and us: a shell, a
// wrapper of the user's.
const maxShells = 3

var openSSHName = regexp.MustCompile(`^(hpn)?ssh([-._]?[0-9][-._0-9a-z]*)?(\.real)?(\.exe)?$`)

// SSHUser returns the name that the ssh whose ProxyCommand this process is logs
// in with. The error is [ErrNoSSH] if no ssh has started it.
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
	if _, err := os.Stat(exe); exe == "" || err != nil { // replaced while it runs
		var err error
		if exe, err = exec.LookPath(p.args[0]); err != nil {
			return "", fmt.Errorf("%w (%w)", ErrNoSSH, err)
		}
	}
	said, _, err := openssh.Ask(ctx, exe, append([]string{"-G"}, p.args[1:]...)...)
	if err != nil {
		return "", fmt.Errorf("%s -G does not say the user: %w", filepath.Base(exe), err)
	}
	for line := range strings.Lines(said) {
		if user, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "user "); ok {
			return user, nil
		}
	}
	return "", fmt.Errorf("%s -G does not say the user", filepath.Base(exe))
}
