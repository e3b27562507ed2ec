//go:build unix

package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// runInTerminal starts a program that calls Run as ssmpipe does.
func runInTerminal(t *testing.T, command ...string) *terminal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, command...)
	cmd.Env = append(os.Environ(), runArgs+"=1", proxyTo+"=")
	return startInTerminal(t, cmd, 24, 80)
}

const ctrlC = "\x03"

func TestCtrlCIsTheCommandsToHandle(t *testing.T) {
	checkEmpty(t, plainTemp(t))
	exit := filepath.Join(t.TempDir(), "exit")
	term := runInTerminal(t, "sh", "-c", `
		trap 'n=$((n+1)); echo int $n' INT
		trap 'echo quit' QUIT
		echo ready
		until [ -e "$1" ]; do sleep 0.05; done
		exit 9`, "sh", exit)
	term.expect(t, `ready`)
	for _, c := range []struct{ typed, want string }{{"\x03", "int 1"}, {"\x1c", "quit"}, {"\x03", "int 2"}} {
		if _, err := term.WriteString(c.typed); err != nil {
			t.Fatal(err)
		}
		term.expect(t, c.want)
	}
	time.Sleep(3 * signalDelay) // no SIGTERM comes late
	writeFile(t, exit, nil)
	if err := term.cmd.Wait(); term.cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("ended by %v: %q", err, term.output())
	}
}

func TestCtrlCEndsACommandThatDoesNotHandleIt(t *testing.T) {
	checkEmpty(t, plainTemp(t))
	term := runInTerminal(t, "sh", "-c", "echo ready; exec sleep 60")
	term.expect(t, `ready`)
	if _, err := term.WriteString(ctrlC); err != nil {
		t.Fatal(err)
	}
	if err := term.cmd.Wait(); term.cmd.ProcessState.ExitCode() != 128+2 {
		t.Errorf("ended by %v", err)
	}
}

func TestCtrlCEndsTheDemoWithoutACommand(t *testing.T) {
	checkEmpty(t, plainTemp(t))
	term := runInTerminal(t)
	term.expect(t, `Press Ctrl-C to end`)
	if _, err := term.WriteString(ctrlC); err != nil {
		t.Fatal(err)
	}
	if err := term.cmd.Wait(); err != nil {
		t.Errorf("ended by %v", err)
	}
}

func TestSIGTERMEndsTheCommandInATerminal(t *testing.T) {
	checkEmpty(t, plainTemp(t))
	term := runInTerminal(t, "sh", "-c", "trap '' INT; echo ready; exec sleep 60")
	term.expect(t, `ready`)
	// After a Ctrl-C that ended the context but not the command.
	if _, err := term.WriteString(ctrlC); err != nil {
		t.Fatal(err)
	}
	term.expect(t, `\^C`)
	if err := term.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := term.cmd.Wait(); term.cmd.ProcessState.ExitCode() != 128+15 {
		t.Errorf("ended by %v", err)
	}
}
