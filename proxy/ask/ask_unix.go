//go:build unix

package ask

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// inForeground says whether our process group may read from the terminal.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// EndGently lets cmd's program put the terminal right when its context ends.
// Without a terminal the program gets a process group of its own, so that what
// it has started ends with it. With one it must stay in ours, which the terminal
// lets read; what it leaves behind is refused that when ours has gone.
func EndGently(cmd *exec.Cmd, onTerminal bool) {
	pid := func() int { return cmd.Process.Pid }
	if !onTerminal {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		pid = func() int { return -cmd.Process.Pid }
	}
	cmd.Cancel = func() error { return syscall.Kill(pid(), syscall.SIGTERM) }
}
