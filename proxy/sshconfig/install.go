package sshconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// FileName is the name of the configuration in ~/.ssh.
const FileName = "ssmpipe.config"

// maxConfig is the maximum size of a file to change, in bytes.
const maxConfig = 16 << 20

const (
	includeLine = "Include " + FileName // from ~/.ssh

	// madePrefix begins the line that says what Uninstall is to remove because
	// Install created it.
	madePrefix = "# ssmpipe ssh-config has also made: "
)

// Install writes text, which Write made, to .ssh/ssmpipe.config in home, and
// includes it at the top of .ssh/config. It replaces files atomically and keeps
// existing configuration unchanged. It returns what it did, one line per action.
func Install(home string, text []byte) (did []string, err error) {
	p := places(home)
	made, err := p.check()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(p.dir, 0o700); err != nil {
			return nil, err
		}
		made = append(made, "~/.ssh")
		did = append(did, "created "+p.dir)
	}
	config, err := regular.ReadFile(p.config, maxConfig)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err != nil && !isNew {
		return did, err
	}
	if isNew {
		made = append(made, "~/.ssh/config")
	}
	_, err = os.Lstat(p.file)
	first := errors.Is(err, fs.ErrNotExist)
	if slices.Sort(made); len(made) > 0 {
		text = append([]byte(string(text)+"\n"+madePrefix), strings.Join(slices.Compact(made), " ")+"\n"...)
	}
	changed, err := replace(p.file, text)
	if err != nil {
		return did, err
	}
	if changed {
		did = append(did, "wrote "+p.file)
	}
	included, changed := include(config)
	if !changed {
		return did, nil
	}
	if _, err := replace(p.config, included); err != nil {
		if first { // no configuration includes it
			os.Remove(p.file)
		}
		return nil, fmt.Errorf("%w; add the line %q at the top yourself", err, includeLine)
	}
	return append(did, fmt.Sprintf("added %q to %s", includeLine, p.config)), nil
}

// Uninstall undoes what Install did, and returns what it did, one line per action.
// It restores the user's configuration byte for byte.
func Uninstall(home string) (did []string, err error) {
	p := places(home)
	made, err := p.check()
	if err != nil {
		return nil, err
	}
	config, err := regular.ReadFile(p.config, maxConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if rest, changed := exclude(config); changed {
		if len(rest) == 0 && slices.Contains(made, "~/.ssh/config") {
			err = os.Remove(p.config)
			did = append(did, "removed "+p.config)
		} else {
			_, err = replace(p.config, rest)
			did = append(did, fmt.Sprintf("removed %q from %s", includeLine, p.config))
		}
		if err != nil {
			return nil, err
		}
	}
	if err := os.Remove(p.file); err == nil {
		did = append(did, "removed "+p.file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return did, err
	}
	os.Remove(SocketDir(home)) // if it is empty
	keys, err := removeKey(filepath.Join(p.dir, "ssmpipe"))
	did = append(did, keys...)
	if err != nil {
		return did, err
	}
	removeHostKeys(filepath.Join(p.dir, "ssmpipe", "hosts"))
	remove := []string{filepath.Join(p.dir, "ssmpipe")}
	if slices.Contains(made, "~/.ssh") {
		remove = append(remove, p.dir)
	}
	for _, dir := range remove {
		entries, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return did, err
		case len(entries) > 0:
			did = append(did, "left "+dir+", which is not empty")
		default:
			if err := os.Remove(dir); err != nil {
				return did, err
			}
			did = append(did, "removed "+dir)
		}
	}
	return did, nil
}

// removeHostKeys removes what ssmpipe has created in dir: links, and the files
// of machines to which they point.
func removeHostKeys(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 || e.Type().IsRegular() && strings.HasPrefix(e.Name(), "@") {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	os.Remove(dir)
}

// removeKey removes the key that ssmpipe may have created in dir.
func removeKey(dir string) (did []string, err error) {
	key := filepath.Join(dir, "key")
	public, err := regular.ReadFile(key+".pub", maxConfig)
	if err != nil || !bytes.Contains(public, []byte(" made by ssmpipe")) {
		return nil, nil
	}
	for _, name := range []string{key, key + ".pub", key + ".lock"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return did, err
		}
	}
	return []string{"removed " + key}, nil
}

// paths are the directory and files that Install writes to.
type paths struct{ dir, config, file string }

func places(home string) paths {
	dir := filepath.Join(home, ".ssh")
	return paths{dir, filepath.Join(dir, "config"), filepath.Join(dir, FileName)}
}

// check returns an error if the files cannot be changed. Otherwise it returns what
// an earlier Install has created.
func (p *paths) check() (made []string, err error) {
	if i, err := os.Stat(p.dir); err == nil && !i.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", p.dir)
	}
	for _, name := range []string{p.config, p.file} {
		i, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if _, err := os.Lstat(name); err == nil {
				return nil, fmt.Errorf("%s is a link to a file that does not exist", name)
			}
		case err != nil:
			return nil, err
		case !i.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a file", name)
		}
	}
	config, err := regular.ReadFile(p.config, maxConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if bytes.IndexByte(config, 0) >= 0 {
		return nil, fmt.Errorf("%s is not text that ssh can read", p.config)
	}
	text, err := regular.ReadFile(p.file, maxConfig)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !bytes.HasPrefix(text, []byte(marker)):
		return nil, fmt.Errorf("%s was not made by ssmpipe; move it elsewhere", p.file)
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), madePrefix); ok {
			made = strings.Fields(list)
		}
	}
	return made, nil
}

const byteOrderMark = "\xef\xbb\xbf" // some editors on Windows write one

// include inserts the line that includes the file before all others, with the
// same line ending, unless it is there already.
func include(config []byte) (with []byte, changed bool) {
	if isIncluded(config) {
		return config, false
	}
	end := "\n"
	if i := bytes.IndexByte(config, '\n'); i > 0 && config[i-1] == '\r' {
		end = "\r\n"
	}
	mark := ""
	if rest, ok := bytes.CutPrefix(config, []byte(byteOrderMark)); ok {
		mark, config = byteOrderMark, rest
	}
	return append([]byte(mark+includeLine+end), config...), true
}

// isIncluded reports whether config includes the file for all hosts. The user may
// have moved the line.
func isIncluded(config []byte) bool {
	for line := range strings.Lines(strings.TrimPrefix(string(config), byteOrderMark)) {
		switch keyword, rest := splitLine(line); keyword {
		case "host", "match":
			return false
		case "include":
			if slices.Contains(strings.Fields(rest), FileName) {
				return true
			}
		}
	}
	return false
}

// exclude removes the line that include added.
func exclude(config []byte) (without []byte, changed bool) {
	text, marked := strings.CutPrefix(string(config), byteOrderMark)
	var b strings.Builder
	if marked {
		b.WriteString(byteOrderMark)
	}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == includeLine {
			changed = true
			continue
		}
		b.WriteString(line)
	}
	return []byte(b.String()), changed
}

// splitLine returns the keyword of a line, in lower case, and the rest.
func splitLine(line string) (keyword, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t=\"")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	return strings.ToLower(line[:i]), strings.TrimLeft(line[i:], " \t=")
}
