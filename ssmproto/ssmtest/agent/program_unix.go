//go:build unix

package agent

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openTerminal gives the program a terminal.
func (p *program) openTerminal() (theirs []*os.File, err error) {
	ours, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	theirs = []*os.File{slave}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	// The library's descriptor is in blocking mode: Close would not end a Read.
	fd, err := unix.FcntlInt(ours.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return theirs, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return theirs, err
	}
	p.tty = os.NewFile(uintptr(fd), ours.Name())
	return theirs, nil
}

// resize changes the size of the program's terminal.
func (p *program) resize(cols, rows int) error {
	raw, err := p.tty.SyscallConn()
	if err != nil {
		return err
	}
	size := unix.Winsize{Col: uint16(cols), Row: uint16(rows)}
	var sizeErr error
	err = raw.Control(func(fd uintptr) { sizeErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size) })
	if err != nil {
		return err
	}
	return sizeErr
}

// leadSession makes the command lead a session of its own, by which everything
// that it starts can be found.
func leadSession(cmd *exec.Cmd, tty bool) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, tty
}

// interrupt sends the signal that a byte of input stands for, and reports
// whether it stands for one.
func interrupt(p *os.Process, c byte) bool {
	signals := map[byte]os.Signal{0x03: unix.SIGINT, 0x1c: unix.SIGQUIT}
	if signals[c] == nil {
		return false
	}
	p.Signal(signals[c])
	return true
}

// killSession kills the leader of a session and all other processes in it.
// Their numbers are not reused while one of them lives, so they are safe to
// signal.
func killSession(leader *os.Process) {
	unix.Kill(-leader.Pid, unix.SIGKILL)
	killed := make(map[int]bool)
	for more := true; more; { // those killed may have just started others
		more = false
		for _, pid := range sessionMembers(leader.Pid) {
			if !killed[pid] {
				unix.Kill(pid, unix.SIGKILL)
				killed[pid], more = true, true
			}
		}
	}
}
