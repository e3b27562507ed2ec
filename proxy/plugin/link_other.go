//go:build !windows

package plugin

import "os"

// makeLink makes path lead to exe, also once that is replaced by a newer one.
func makeLink(exe, path string) error { return os.Symlink(exe, path) }

// leadsTo says whether path is what makeLink makes.
func leadsTo(path, exe string) bool {
	to, err := os.Readlink(path)
	return err == nil && to == exe
}

// isCopy says whether makeLink has copied ssmpipe to path, as it never does.
func isCopy(string) bool { return false }
