//go:build unix

package demo

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/creack/pty"
)

const havePty = true

// signalNames are the signals that RFC 4254 section 6.10 names.
var signalNames = map[syscall.Signal]string{
	syscall.SIGABRT: "ABRT",
	syscall.SIGALRM: "ALRM",
	syscall.SIGFPE:  "FPE",
	syscall.SIGHUP:  "HUP",
	syscall.SIGILL:  "ILL",
	syscall.SIGINT:  "INT",
	syscall.SIGKILL: "KILL",
	syscall.SIGPIPE: "PIPE",
	syscall.SIGQUIT: "QUIT",
	syscall.SIGSEGV: "SEGV",
	syscall.SIGTERM: "TERM",
	syscall.SIGUSR1: "USR1",
	syscall.SIGUSR2: "USR2",
}

// shellCommand returns "/bin/sh -c COMMAND", or an interactive shell: bash if
// available, for its line editing, without the machine's start-up files, which are
// not written for such a home.
func shellCommand(command *string) *exec.Cmd {
	if command != nil {
		return exec.Command("/bin/sh", "-c", *command)
	}
	if bash, err := exec.LookPath("bash"); err == nil {
		return exec.Command(bash, "--noprofile", "--norc")
	}
	return exec.Command("/bin/sh")
}

// systemEnviron returns the part of the demo's environment that a login also has.
func systemEnviron() []string {
	env := []string{
		"SHELL=/bin/sh",
		"BASH_SILENCE_DEPRECATION_WARNING=1", // macOS's bash otherwise recommends zsh
	}
	for _, name := range []string{"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// setSession makes the command the leader of a session and process group, so that
// everything that it starts can be signalled.
func setSession(cmd *exec.Cmd, tty bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: tty}
}

// openPty connects the command to a new terminal and returns its side of it.
func (p *process) openPty(req *ptyRequest) (theirs []*os.File, err error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	p.tty, p.stdin, p.stdout = master, master, master
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.Env = append(p.cmd.Env, "SSH_TTY="+slave.Name())
	theirs = []*os.File{slave}
	if err := setSize(master, winsize{req.Cols, req.Rows, req.Width, req.Height}); err != nil {
		return theirs, err
	}
	return theirs, setModes(slave, req.Modes)
}

func setSize(tty *os.File, w winsize) error {
	return pty.Setsize(tty, &pty.Winsize{
		Rows: uint16(w.Rows), Cols: uint16(w.Cols),
		X: uint16(w.Width), Y: uint16(w.Height),
	})
}

// signal sends the named signal to the command's process group.
func (p *process) signal(name string) bool {
	for sig, n := range signalNames {
		if n == name {
			return p.signalGroup(sig)
		}
	}
	return false
}

// The group's id is not reused, and so is safe to signal, while a process of the
// group lives. With none left the signal reaches no process.
func (p *process) signalGroup(sig syscall.Signal) bool {
	return syscall.Kill(-p.cmd.Process.Pid, sig) == nil
}

func (p *process) hangup() { p.signalGroup(syscall.SIGHUP) }
func (p *process) kill()   { p.signalGroup(syscall.SIGKILL) }

// status returns how the command ended. It must be called only after done.
func (p *process) status() exitStatus {
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		return exitStatus{code: p.cmd.ProcessState.ExitCode()}
	}
	name, ok := signalNames[ws.Signal()]
	if !ok {
		name = "SIG@openssh.com" // what sshd sends for signals without a name
	}
	return exitStatus{signal: name, core: ws.CoreDump()}
}
