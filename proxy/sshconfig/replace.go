package sshconfig

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// replace atomically sets the contents of a file to text: a concurrent reader, or
// one after a crash, sees the old or the new contents. It keeps links, mode and
// owner. Only the user can access a new file. replace does nothing if the file has
// these contents already.
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
		// A rename would succeed even if the user has made the file read-only.
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
	if d, err := os.Open(dir); err == nil { // so that the new name is on disk as well
		d.Sync()
		d.Close()
	}
	return true, nil
}
