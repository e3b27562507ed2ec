// Package private manages this user's directories and files that no other user
// may change, or even use.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Dir creates a directory that only this user may use, or checks that an
// existing one is. See MakeDir for the directories that it does not create.
func Dir(path string) error {
	if err := MakeDir(path); err != nil {
		return err
	}
	return check(path, 0o077, "with mode 0700")
}

// Cache is Dir for a directory that others may read, but not write to.
func Cache(path string) error {
	if err := MakeDir(path); err != nil {
		return err
	}
	return CheckCache(path)
}

// CheckCache is Cache without creating the directory.
func CheckCache(path string) error { return check(path, 0o022, "and be writable by nobody else") }

func check(path string, others fs.FileMode, want string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	why := ""
	switch {
	case !info.IsDir():
		why = "it is not a directory"
	case !Own(info):
		why = "it belongs to another user"
	case open(info.Mode())&others != 0:
		why = fmt.Sprintf("it is open to others (mode %#o)", info.Mode().Perm())
	default:
		return nil
	}
	return &fs.PathError{Op: "use", Path: path, Err: fmt.Errorf("%s: the directory must belong to this user, %s", why, want)}
}

// errNoHome says that the user's home directory does not exist.
var errNoHome = errors.New("the home directory does not exist")

// MakeDir is os.MkdirAll for directories of mode 0700. It does not create a
// home directory: it would stay for good for a user who should have none, or be
// in the way when the right one is mounted later.
func MakeDir(path string) error {
	if home, err := os.UserHomeDir(); err == nil && within(path, home) {
		if _, err := os.Stat(home); err != nil {
			return &fs.PathError{Op: "mkdir", Path: path, Err: fmt.Errorf("%w: %w", errNoHome, err)}
		}
	}
	return os.MkdirAll(path, 0o700)
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
