//go:build unix

package ask

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// inForeground reports whether our process group may read from the terminal.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// EndGently lets cmd's program restore the terminal when its context ends.
// Without a terminal, the program gets its own process group, so that its
// children end with it. With a terminal, it must stay in our process group,
// which may read from the terminal; children that it leaves behind can no
// longer read from it once our group has gone.
func EndGently(cmd *exec.Cmd, onTerminal bool) {
	pid := func() int { return cmd.Process.Pid }
	if !onTerminal {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		pid = func() int { return -cmd.Process.Pid }
	}
	cmd.Cancel = func() error { return syscall.Kill(pid(), syscall.SIGTERM) }
}
