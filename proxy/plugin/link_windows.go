package plugin

import (
	"debug/buildinfo"
	"io"
	"os"
)

// makeLink makes path lead to exe. Symbolic links take a privilege that users
// lack, so it is the same file under another name, or, on another volume, a
// copy.
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

// leadsTo says whether path is what makeLink makes. A copy is made anew each
// time, since it may be of an older one.
func leadsTo(path, exe string) bool { return sameFile(path, exe) }

// isCopy says whether the file at path is a copy of ssmpipe, of whatever version.
func isCopy(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Path == "github.com/ssmpipe/ssmpipe"
}
