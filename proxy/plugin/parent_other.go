//go:build !windows

package plugin

import "os"

// watchParent returns a function that reports whether the parent has ended, and
// one to call when done; nil if there is no real parent. An orphan gets another
// parent.
func watchParent() (gone func() bool, done func()) {
	parent := os.Getppid()
	if parent <= 1 {
		return nil, nil
	}
	return func() bool { return os.Getppid() != parent }, func() {}
}
