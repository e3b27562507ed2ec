//go:build unix

package cache

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCacheOfOthers: what somebody else may have written is not read, and nothing
// is written beside it.
func TestCacheOfOthers(t *testing.T) {
	for name, spoil := range map[string]func(c Cache, file string) error{
		"group may write":      func(c Cache, _ string) error { return os.Chmod(c.dir, 0o770) },
		"everybody may write":  func(c Cache, _ string) error { return os.Chmod(c.dir, 0o777|os.ModeSticky) },
		"directory of another": func(c Cache, _ string) error { return os.Chown(c.dir, 65534, -1) },
		"link to another's": func(c Cache, _ string) error {
			theirs := c.dir + "-theirs"
			if err := os.Rename(c.dir, theirs); err != nil {
				return err
			}
			if err := os.Chown(theirs, 65534, -1); err != nil {
				return err
			}
			return os.Symlink(theirs, c.dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := Cache{filepath.Join(t.TempDir(), "cache")}
			c.Put("poison", "key")
			if err := spoil(c, c.file([]string{"key"})); os.IsPermission(err) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadDir(c.dir)
			var got string
			if _, ok := c.Get(&got, "key"); ok {
				t.Errorf("%q was read", got)
			}
			if c.Put("mine", "other"); c.Dir() != "" {
				t.Error("the directory is used")
			}
			if after, _ := os.ReadDir(c.dir); len(after) != len(before) {
				t.Errorf("%d files after %d", len(after), len(before))
			}
		})
	}
}

// TestCacheReadsFilesOnly, of one's own and of a size to be expected: it neither
// waits for who opens a pipe's other end nor reads a device to its end.
func TestCacheReadsFilesOnly(t *testing.T) {
	for name, replace := range map[string]func(file string) error{
		"pipe":         func(file string) error { return unix.Mkfifo(file, 0o600) },
		"device":       func(file string) error { return os.Symlink("/dev/zero", file) },
		"directory":    func(file string) error { return os.Mkdir(file, 0o700) },
		"link to pipe": func(file string) error { os.Symlink(file+"-pipe", file); return unix.Mkfifo(file+"-pipe", 0o600) },
		"large": func(file string) error {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(file, maxEntry+1)
		},
		"another's": func(file string) error {
			var theirs = Cache{filepath.Dir(file)}
			theirs.Put("poison", "else")
			if err := os.Rename(theirs.file([]string{"else"}), file); err != nil {
				return err
			}
			return os.Chown(file, 65534, -1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := Cache{filepath.Join(t.TempDir(), "cache")}
			c.Put("good", "key")
			file := c.file([]string{"key"})
			os.Remove(file)
			if err := replace(file); os.IsPermission(err) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			var got string
			if _, ok := c.Get(&got, "key"); ok {
				t.Errorf("%q was read", got)
			}
			c.Put("new", "key")
			if _, ok := c.Get(&got, "key"); ok != (name != "directory") || ok && got != "new" {
				t.Errorf("after Put: %q, %v", got, ok)
			}
		})
	}
}

// TestCacheMakesNoHome: who has none gets none.
func TestCacheMakesNoHome(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("SSMPIPE_CACHE", "")
	c := User()
	if c.Put(1, "key"); c.Dir() != "" {
		t.Error(c.Dir())
	}
	if _, err := os.Lstat(home); !os.IsNotExist(err) {
		t.Errorf("it was made: %v", err)
	}
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	c.Put(1, "key")
	var n int
	if _, ok := c.Get(&n, "key"); !ok {
		t.Error("there is no cache in a home without one")
	}
}
