//go:build unix

package private

import (
	"io/fs"
	"os"
	"syscall"
)

// Own says whether a file or directory is this user's.
func Own(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(owner.Uid) == os.Geteuid()
}

// open is what others may do with a directory.
func open(mode fs.FileMode) fs.FileMode { return mode.Perm() & 0o077 }
