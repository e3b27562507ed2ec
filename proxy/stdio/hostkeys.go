package stdio

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

// A host name that ends in a suffix stands for whichever machine has the name
// now. The host key belongs to the machine, not to the name: a machine that
// replaces another has its own key. So each machine has its own known_hosts
// file, named @ID, and the host name that ssh uses is a link to that file, for
//
//	UserKnownHostsFile DIR/%h
//
// ssh opens it only after the stream has begun. ssh still decides what to do
// about a new or changed key.

// linkHostKeys links the host name to the known_hosts file of machine id.
func (o *Options) linkHostKeys(id string) {
	name := strings.ToLower(o.Target) // as ssh writes it in %h
	if o.HostKeys == "" || name == "" || strings.ContainsAny(name, "/\\\x00") || strings.ContainsAny(name[:1], ".@") || !o.IsID(id) || strings.Contains(id, "/") {
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
		o.Notice(safetext.Printable(fmt.Sprintf("%s (%s): ssh will check its host key against that of another machine of this name: %v", o.Target, id, err)))
	}
}

// replaceLink atomically points link at a file in the same directory.
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
		// "ssh-keygen -R" has replaced the link with a regular file.
		if err := os.Rename(link, filepath.Join(filepath.Dir(link), to)); err != nil {
			return err
		}
	}
	part := filepath.Join(filepath.Dir(link), fmt.Sprintf(".%d.link", os.Getpid()))
	os.Remove(part) // left by a process that was killed
	if err := os.Symlink(to, part); err != nil {
		return err
	}
	if err := os.Rename(part, link); err != nil {
		os.Remove(part)
		return err
	}
	return nil
}
