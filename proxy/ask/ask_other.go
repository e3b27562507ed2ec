//go:build !unix

package ask

import (
	"os"
	"os/exec"
)

// inForeground says whether we may read from the terminal: there is no
// background here.
func inForeground(*os.File) bool { return true }

// EndGently leaves cmd to be killed: there is no gentler way here.
func EndGently(*exec.Cmd, bool) {}
