//go:build !unix

package ask

import (
	"os"
	"os/exec"
)

// inForeground reports whether we may read from the terminal. These systems
// have no background process groups.
func inForeground(*os.File) bool { return true }

// EndGently does nothing: these systems have no gentler way than to kill cmd.
func EndGently(*exec.Cmd, bool) {}
