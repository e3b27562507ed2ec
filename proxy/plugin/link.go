package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/sshconfig"
)

// ErrPluginThere means that a session-manager-plugin other than ours exists.
var ErrPluginThere = errors.New("there is a session-manager-plugin that is not ssmpipe")

// pluginFile returns the file name that the AWS CLI looks for on PATH.
func pluginFile() string {
	if runtime.GOOS == "windows" {
		return "session-manager-plugin.exe"
	}
	return "session-manager-plugin"
}

// Install makes the running binary the AWS CLI's plugin by a link in dir or,
// if dir is "", in the most suitable directory on PATH. It reports what it did
// to o.Notice. A plugin that is not ours is replaced only with force; otherwise
// Install returns ErrPluginThere.
func Install(o machine.Options, dir string, force bool) error {
	o.Fill()
	exe, err := sshconfig.Executable()
	if err != nil {
		return err
	}
	dirs := []string{dir}
	if dir == "" {
		if dirs = pluginDirs(exe); len(dirs) == 0 {
			return fmt.Errorf("no directory on PATH is suitable for this; name one: ssmpipe plugin --install DIR")
		}
	}
	var path string
	for _, d := range dirs {
		if path, err = filepath.Abs(filepath.Join(d, pluginFile())); err != nil {
			return err
		}
		if err = linkPlugin(&o, path, exe, force); !unsuitable(err) {
			break
		}
	}
	if err != nil {
		return err
	}
	tellOthers(&o, path)
	return nil
}

// unsuitable reports whether err is about a directory and not about a file in
// it.
func unsuitable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS)
}

// pluginDirs returns the directories on PATH that are meant for a user's
// programs, best first: the one that has the plugin already, the user's own, the
// one with ssmpipe, and the system-wide ones.
func pluginDirs(exe string) (dirs []string) {
	home, _ := os.UserHomeDir()
	path := pathDirs()
	for _, d := range path {
		if isOurPlugin(filepath.Join(d, pluginFile()), exe) {
			dirs = append(dirs, d)
		}
	}
	for _, d := range []string{filepath.Join(home, ".local", "bin"), filepath.Join(home, "bin"), filepath.Dir(exe), "/usr/local/bin"} {
		if slices.Contains(path, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

func pathDirs() (dirs []string) {
	for _, d := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(d) {
			dirs = append(dirs, filepath.Clean(d))
		}
	}
	return dirs
}

// linkPlugin makes path a link to exe.
func linkPlugin(o *machine.Options, path, exe string, force bool) error {
	_, err := os.Lstat(path)
	there := err == nil
	ours := there && isOurPlugin(path, exe)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case ours && leadsTo(path, exe):
		o.Notice(safetext.Printable(path + " is installed already"))
		return nil
	case there && !ours && !force:
		return fmt.Errorf("%s: %w; replace it with --force, or name a DIR that comes before it on PATH", path, ErrPluginThere)
	}
	// Create it under another name first, so that a plugin exists at all times.
	made := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), os.Getpid()))
	if err := makeLink(exe, made); err != nil {
		return err
	}
	if err := os.Rename(made, path); err != nil {
		os.Remove(made)
		return err
	}
	if there && !ours {
		o.Notice(safetext.Printable("replaced " + path + ", which was another plugin"))
	}
	o.Notice(safetext.Printable(fmt.Sprintf("%s now leads to %s", path, exe)))
	return nil
}

// tellOthers reports what keeps the AWS CLI from finding the plugin at path,
// and which plugin it has found until now.
func tellOthers(o *machine.Options, path string) {
	before := true
	for _, d := range pathDirs() {
		other := filepath.Join(d, pluginFile())
		if sameFile(d, filepath.Dir(path)) {
			before = false
			continue
		}
		if found, err := exec.LookPath(other); err != nil || found == "" {
			continue
		}
		if before {
			o.Notice(safetext.Printable(fmt.Sprintf("%s comes before it on PATH: put %s first, or remove the other", other, filepath.Dir(path))))
		} else {
			o.Notice(safetext.Printable(fmt.Sprintf("%s stays, but comes after it on PATH", other)))
		}
		return
	}
	if before {
		o.Notice(safetext.Printable(fmt.Sprintf("%s is not on PATH, so the AWS CLI does not find the plugin yet", filepath.Dir(path))))
	}
}

// Uninstall removes what Install made in dir or, if dir is "", anywhere on
// PATH. It leaves files that are not ours.
func Uninstall(o machine.Options, dir string) error {
	o.Fill()
	exe, err := sshconfig.Executable()
	if err != nil && !errors.Is(err, sshconfig.ErrGoRun) {
		return err
	}
	dirs := []string{dir}
	if dir == "" {
		dirs = pathDirs()
	}
	removed := false
	for _, d := range dirs {
		path := filepath.Join(d, pluginFile())
		_, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil && dir != "":
			return err
		case err != nil:
		case isOurPlugin(path, exe):
			if err := os.Remove(path); err != nil {
				return err
			}
			o.Notice(safetext.Printable("removed " + path))
			removed = true
		case dir != "":
			return fmt.Errorf("%s: %w; not removed", path, ErrPluginThere)
		}
	}
	if !removed {
		o.Notice("nothing was installed")
	}
	return nil
}

// isOurPlugin reports whether the file at path is this binary, or was made by
// Install for an ssmpipe that may no longer exist.
func isOurPlugin(path, exe string) bool {
	if to, err := os.Readlink(path); err == nil {
		return isSSMPipe(to) || sameFile(path, exe)
	}
	return sameFile(path, exe) && filepath.Clean(path) != exe || isCopy(path)
}

// isSSMPipe reports whether the base name of path is that of our binary.
func isSSMPipe(path string) bool {
	return strings.TrimSuffix(strings.ToLower(filepath.Base(path)), ".exe") == "ssmpipe"
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
