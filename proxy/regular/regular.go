// Package regular opens files by names that lead to what they lead to, and takes
// only regular files. To open a named pipe is to wait for somebody at its other
// end, a device may have no end, and both can be where a file should be: by
// mistake, or because somebody else may write to the directory.
package regular

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular says that there is something else than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge says that a file is larger than anything that it should be.
var ErrTooLarge = errors.New("too large")

// Open is os.Open for regular files. It does not wait.
func Open(name string) (*os.File, error) { return OpenFile(name, os.O_RDONLY, 0) }

// OpenFile is os.OpenFile for regular files. It does not wait.
func OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	// What is none already is not even opened: a tape would be wound back.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(name)
	}
	f, err := os.OpenFile(name, flag|nonBlock, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile is os.ReadFile for regular files of up to limit bytes, and for the
// null device, by which people say that there is nothing. It does not wait.
func ReadFile(name string, limit int64) ([]byte, error) {
	f, err := Open(name)
	if errors.Is(err, ErrNotRegular) && isNull(name) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = &fs.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

// Check says whether somebody else may read a file as ReadFile would.
func Check(name string, limit int64) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular() && info.Size() > limit:
		return &fs.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	case !info.Mode().IsRegular() && !isNull(name):
		return notRegular(name)
	}
	return nil
}

func notRegular(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
}

func isNull(name string) bool {
	if name == os.DevNull {
		return true
	}
	there, err := os.Stat(name)
	if err != nil {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(there, null)
}
