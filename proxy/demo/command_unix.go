//go:build unix

package demo

import (
	"os"
	"syscall"
)

// endSignals are the signals that ask a program to end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP}

// isTyped reports whether a terminal sends s for a key, to all programs in its
// foreground.
func isTyped(s os.Signal) bool { return s == os.Interrupt || s == syscall.SIGQUIT }

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// waitStatus returns the status that a shell would report.
func waitStatus(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
