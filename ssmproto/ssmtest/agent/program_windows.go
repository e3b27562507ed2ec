package agent

import (
	"errors"
	"os"
	"os/exec"
)

var errNoTerminal = errors.New("ssmtest has no terminals on Windows")

func (p *program) openTerminal() ([]*os.File, error) { return nil, errNoTerminal }

func (p *program) resize(int, int) error { return errNoTerminal }

func leadSession(*exec.Cmd, bool) {}

// interrupt kills the program for the bytes that stand for signals on other
// systems.
func interrupt(p *os.Process, c byte) bool {
	if c != 0x03 && c != 0x1c {
		return false
	}
	p.Kill()
	return true
}

func killSession(leader *os.Process) { leader.Kill() }
