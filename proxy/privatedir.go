package proxy

import (
	"fmt"
	"io/fs"
	"os"
)

// privateDir makes a directory that only this user may use, or checks that it
// is one.
func privateDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return checkPrivate(path, info)
}

func notPrivate(path, why string) error {
	return &fs.PathError{Op: "use", Path: path, Err: fmt.Errorf("the directory is %s: it must be this user's, with mode 0700", why)}
}
