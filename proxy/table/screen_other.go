//go:build !windows

package table

import "os"

// takesColour reports whether the terminal understands escape sequences.
func takesColour(*os.File) bool { return true }
