//go:build unix

package completion

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// detach gives a command a session of its own, with no terminal and no way to
// ask on one. What the shell has left open is not the command's to hold: the
// shell waits for the end of some of that.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	for fd := 3; fd < 256; fd++ {
		unix.CloseOnExec(fd)
	}
}

// lock locks a file without waiting.
func lock(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
