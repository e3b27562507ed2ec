//go:build unix

package proxy

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func checkPrivate(path string, info fs.FileInfo) error {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return notPrivate(path, "another user's")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return notPrivate(path, fmt.Sprintf("open to others (mode %#o)", mode))
	}
	return nil
}
