//go:build unix

package sshconfig

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInstallTakesFilesOnly: it neither waits for a pipe nor puts a file in a
// device's place.
func TestInstallTakesFilesOnly(t *testing.T) {
	for _, where := range []string{"config", FileName} {
		for what, put := range map[string]func(name string) error{
			"pipe":      func(name string) error { return unix.Mkfifo(name, 0o600) },
			"device":    func(name string) error { return os.Symlink(os.DevNull, name) },
			"directory": func(name string) error { return os.Mkdir(name, 0o700) },
		} {
			home := t.TempDir()
			if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(home, ".ssh", where)
			if err := put(name); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Stat(name)
			did, err := Install(home, []byte("Host x\n"))
			if err == nil {
				t.Errorf("%s is a %s: %q, %v", where, what, did, err)
			}
			Uninstall(home)
			if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
				t.Errorf("%s was a %s: %v, %v", where, what, after.Mode(), err)
			}
		}
	}
}
