package sshconfig

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// replace makes text the content of a file, at once: whoever reads it, or finds
// it after a crash, sees the old one or the new one. A link stays a link, and
// mode and owner stay what they are; a new file is its user's alone. A file
// that has that content already is left alone.
func replace(name string, text []byte) (changed bool, err error) {
	mode := fs.FileMode(0o600)
	old, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return false, err
	default:
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return false, err
		}
		if now, err := regular.ReadFile(name, maxConfig); err == nil && bytes.Equal(now, text) {
			return false, nil
		}
		// A rename would not ask whether its user has made it read-only.
		f, err := regular.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return false, err
		}
		f.Close()
		mode = old.Mode().Perm()
	}
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return false, err
	}
	if old != nil {
		if err := keepOwner(f, old); err != nil {
			return false, err
		}
	}
	if _, err := f.Write(text); err != nil {
		return false, err
	}
	if err := f.Sync(); err != nil {
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return false, err
	}
	if d, err := os.Open(dir); err == nil { // so that the new name is on the disk as well
		d.Sync()
		d.Close()
	}
	return true, nil
}
