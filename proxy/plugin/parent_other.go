//go:build !windows

package plugin

import "os"

// watchParent returns what says whether the parent has ended, and what to call in
// the end; nil if there is no parent to speak of. An orphan gets another parent.
func watchParent() (gone func() bool, done func()) {
	parent := os.Getppid()
	if parent <= 1 {
		return nil, nil
	}
	return func() bool { return os.Getppid() != parent }, func() {}
}
