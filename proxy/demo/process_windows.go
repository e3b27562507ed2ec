package demo

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// havePty: ssh says that it got no terminal, and goes on without.
const havePty = false

// shellCommand returns "cmd /C COMMAND", or cmd itself. cmd parses its raw command
// line, so COMMAND is not quoted as an argument.
func shellCommand(command *string) *exec.Cmd {
	shell := os.Getenv("COMSPEC")
	if shell == "" {
		shell = "cmd.exe"
	}
	cmd := exec.Command(shell)
	if command != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `cmd /C ` + *command}
	}
	return cmd
}

// systemEnviron returns the whole environment except the AWS settings: too many
// Windows programs fail without some variable.
func systemEnviron() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(strings.ToUpper(v), "AWS_") {
			env = append(env, v)
		}
	}
	return env
}

func setSession(*exec.Cmd, bool) {}

func (p *process) openPty(*ptyRequest) ([]*os.File, error) {
	return nil, errors.ErrUnsupported
}

func setSize(*os.File, winsize) error { return errors.ErrUnsupported }

func (p *process) signal(name string) bool {
	return name == "KILL" && p.cmd.Process.Kill() == nil
}

// hangup only closes the pipes, since Windows has no signal for it.
func (p *process) hangup() { p.closeFiles() }
func (p *process) kill()   { _ = p.cmd.Process.Kill() }

func (p *process) status() exitStatus {
	return exitStatus{code: p.cmd.ProcessState.ExitCode()}
}
