//go:build unix

package listen

import "golang.org/x/sys/unix"

// syscallUmask sets the mask of modes of new files. It is the whole process's.
func syscallUmask(mask int) (old int) { return unix.Umask(mask) }
