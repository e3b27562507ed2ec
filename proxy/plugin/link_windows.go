package plugin

import (
	"debug/buildinfo"
	"io"
	"os"
)

// makeLink makes path a hard link to exe or, on another volume, a copy, because
// users lack the privilege to create symbolic links.
func makeLink(exe, path string) error {
	if os.Link(exe, path) == nil {
		return nil
	}
	from, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(to, from); err == nil {
		err = to.Close()
	}
	if err != nil {
		to.Close()
		os.Remove(path)
	}
	return err
}

// leadsTo reports whether path is a hard link to exe. A copy does not count: it
// may be of an older version, so it is made again each time.
func leadsTo(path, exe string) bool { return sameFile(path, exe) }

// isCopy reports whether the file at path is a copy of any version of ssmpipe.
func isCopy(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Path == "github.com/ssmpipe/ssmpipe"
}
