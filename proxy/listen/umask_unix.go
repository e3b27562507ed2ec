//go:build unix

package listen

import "golang.org/x/sys/unix"

// syscallUmask sets the file mode creation mask of the whole process.
func syscallUmask(mask int) (old int) { return unix.Umask(mask) }
