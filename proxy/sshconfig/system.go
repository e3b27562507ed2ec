package sshconfig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Facts about this machine for the configuration.

// Home returns the home directory in which ssh looks for .ssh. On Unix it is the
// one in the user database, not HOME. If write is set, both must be the same: a
// user who sets HOME means another place.
func Home(write bool) (string, error) {
	home, err := os.UserHomeDir()
	if runtime.GOOS == "windows" {
		return home, err
	}
	u, err2 := user.Current()
	if err2 != nil || u.HomeDir == "" {
		return home, err
	}
	if write && (err != nil || !same(home, u.HomeDir)) {
		return "", fmt.Errorf("HOME is %q, but ssh uses %s: set HOME to that", home, u.HomeDir)
	}
	return u.HomeDir, nil
}

// InHome replaces a leading ~/ of a path with the home directory, as ssh does.
func InHome(path string) string {
	after, ok := strings.CutPrefix(path, "~/")
	if !ok {
		return path
	}
	home, err := Home(false)
	if err != nil {
		return path
	}
	return filepath.Join(home, after)
}

// ErrGoRun means that the running binary will be gone when ssh looks for it.
var ErrGoRun = errors.New(`"go run" removes ssmpipe when it ends: install it with "go install" first`)

var goRun = regexp.MustCompile(`[/\\]go-build[0-9]+[/\\]b[0-9]+[/\\]exe[/\\][^/\\]+$`)

// Executable returns the absolute path of the running binary, since programs
// started by a desktop have another PATH. If PATH leads to the same binary, it
// returns the path found there: a package manager keeps that path when it updates
// the binary. With ErrGoRun the path is valid for a while.
func Executable() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	if goRun.MatchString(exe) {
		return exe, ErrGoRun
	}
	if found, err := exec.LookPath(filepath.Base(os.Args[0])); err == nil && same(found, exe) {
		return filepath.Abs(found)
	}
	return exe, nil
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// Keys returns the names of the key files in home that ssh tries by default.
func Keys(home string) (keys []string) {
	for _, name := range []string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"} {
		if i, err := os.Stat(filepath.Join(home, ".ssh", name)); err == nil && i.Mode().IsRegular() {
			keys = append(keys, name)
		}
	}
	return keys
}
