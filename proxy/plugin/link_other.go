//go:build !windows

package plugin

import "os"

// makeLink makes path a link to exe, which stays valid when exe is replaced by a
// newer version.
func makeLink(exe, path string) error { return os.Symlink(exe, path) }

// leadsTo reports whether path is what makeLink would make for exe.
func leadsTo(path, exe string) bool {
	to, err := os.Readlink(path)
	return err == nil && to == exe
}

// isCopy reports false: makeLink never copies here.
func isCopy(string) bool { return false }
