package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/private"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// A host whose name ends in a suffix is whatever machine has the name now. Its
// host key belongs to the machine, not to the name: one that has replaced
// another has a key of its own. So each machine has a known_hosts of its own,
// named @ID, and the name that ssh knows is a link to it, for
//
//	UserKnownHostsFile DIR/%h
//
// which ssh opens only when the stream has begun. What to make of a key that is
// new or has changed stays ssh's to decide.

// LinkHostKeys makes the link for the machine id.
func (o *Options) LinkHostKeys(id string) {
	name := strings.ToLower(o.Target) // as ssh has it in %h
	if o.HostKeys == "" || name == "" || strings.ContainsAny(name, "/\\\x00") || strings.ContainsAny(name[:1], ".@") || !ServiceID.MatchString(id) || strings.Contains(id, "/") {
		return
	}
	link := filepath.Join(o.HostKeys, name)
	err := private.Dir(o.HostKeys)
	if err == nil {
		err = replaceLink(link, "@"+id)
	}
	if err == nil {
		return
	}
	o.Log.Info("no known_hosts of the machine's own", "err", err)
	if to, _ := os.Readlink(link); to != "" && to != "@"+id {
		o.Notice(safetext.Printable(fmt.Sprintf("%s (%s): ssh looks for its host key in that of another machine of the name: %v", o.Target, id, err)))
	}
}

// replaceLink makes link lead to a file beside it, at once for whoever looks.
func replaceLink(link, to string) error {
	switch info, err := os.Lstat(link); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		if now, err := os.Readlink(link); err == nil && now == to {
			return nil
		}
	case info.Mode().IsRegular():
		// "ssh-keygen -R" has put what it left in the link's place.
		if err := os.Rename(link, filepath.Join(filepath.Dir(link), to)); err != nil {
			return err
		}
	}
	part := filepath.Join(filepath.Dir(link), fmt.Sprintf(".%d.link", os.Getpid()))
	os.Remove(part) // of a process that was killed
	if err := os.Symlink(to, part); err != nil {
		return err
	}
	if err := os.Rename(part, link); err != nil {
		os.Remove(part)
		return err
	}
	return nil
}
