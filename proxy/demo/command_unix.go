//go:build unix

package demo

import (
	"os"
	"syscall"
)

// endSignals are those that ask a program to end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP}

// isTyped says whether s is what a terminal sends for a key, to all programs in
// its foreground.
func isTyped(s os.Signal) bool { return s == os.Interrupt || s == syscall.SIGQUIT }

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// waitStatus is the status that a shell would give.
func waitStatus(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
