//go:build unix

package private

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDir is this user's, and nobody else's.
func TestDir(t *testing.T) {
	for name, tt := range map[string]struct {
		use            func(string) error
		refused, taken os.FileMode
	}{
		"Dir":   {Dir, 0o750, 0o700},
		"Cache": {Cache, 0o775, 0o755},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "b")
			for range 2 {
				if err := tt.use(dir); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range []string{dir, filepath.Dir(dir)} {
				if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("%s: %v, %v", d, info.Mode(), err)
				}
			}
			for mode, want := range map[os.FileMode]string{tt.taken: "", tt.refused: "open to others", 0o777: "open to others"} {
				if err := os.Chmod(dir, mode); err != nil {
					t.Fatal(err)
				}
				if err := tt.use(dir); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("mode %#o: %v", mode, err)
				}
			}
			os.Chmod(dir, 0o700)
			if err := tt.use(os.DevNull); err == nil {
				t.Error("a device is taken for a directory")
			}
			if os.Getuid() != 0 {
				t.Skip("only root gives directories away")
			}
			if err := os.Chown(dir, 65534, -1); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			for _, d := range []string{dir, link} {
				if err := tt.use(d); err == nil || !strings.Contains(err.Error(), "it belongs to another user") {
					t.Errorf("%s: %v", d, err)
				}
			}
		})
	}
}

// TestHomeIsNotMade: neither for a directory in it nor for itself.
func TestHomeIsNotMade(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	t.Setenv("HOME", home)
	for _, dir := range []string{home, filepath.Join(home, ".ssh", "ssmpipe"), filepath.Join(home, "..", "home", "x")} {
		if err := Dir(dir); !errors.Is(err, errNoHome) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Lstat(home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	beside := filepath.Join(home+"-beside", "cache")
	if err := Dir(beside); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Dir(filepath.Join(home, ".ssh", "ssmpipe")); err != nil {
		t.Error(err)
	}
}
