//go:build !windows

package table

import "os"

// takesColour says whether the terminal understands sequences.
func takesColour(*os.File) bool { return true }
