//go:build unix

package completion

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// detach runs a command in a session of its own, without a terminal to prompt
// on. The command does not inherit the shell's open files, because the shell
// waits until some of them are closed.
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
