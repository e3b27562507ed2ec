// Package regular opens only regular files. It follows symbolic links. Opening
// a named pipe blocks until its other end is opened, and a device may have no
// end. Both can be where a file should be: by mistake, or because another user
// may write to the directory.
package regular

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular says that the name is not that of a regular file.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge says that a file is larger than it should ever be.
var ErrTooLarge = errors.New("too large")

// Open is os.Open for regular files. It does not block.
func Open(name string) (*os.File, error) { return OpenFile(name, os.O_RDONLY, 0) }

// OpenFile is os.OpenFile for regular files. It does not block.
func OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	// Do not even open other files: opening a tape would rewind it.
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
// null device, which stands for an empty file. It does not block.
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

// Check returns an error if ReadFile would refuse the file. It is for files
// that other code reads.
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
