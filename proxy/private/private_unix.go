//go:build unix

package private

import (
	"io/fs"
	"os"
	"syscall"
)

// Own reports whether a file or directory belongs to this user.
func Own(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(owner.Uid) == os.Geteuid()
}

// open returns the permissions that others have on a directory.
func open(mode fs.FileMode) fs.FileMode { return mode.Perm() & 0o077 }
