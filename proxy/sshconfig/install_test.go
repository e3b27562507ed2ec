package sshconfig

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// someText is a configuration to install.
func someText(t testing.TB, home string) []byte {
	return []byte(write(t, Options{Executable: "/bin/ssmpipe", Home: home}))
}

// home is a directory with a .ssh/config of that content, and what is left of
// it later.
func homeWith(t testing.TB, config string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(home, ".ssh", "config"), config)
	return home
}

func put(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func install(t testing.TB, home string) []string {
	t.Helper()
	did, err := Install(home, someText(t, home))
	if err != nil {
		t.Fatal(err)
	}
	return did
}

func uninstall(t testing.TB, home string) []string {
	t.Helper()
	did, err := Uninstall(home)
	if err != nil {
		t.Fatal(err)
	}
	return did
}

// tree lists what there is below dir, with modes and contents.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(i.Mode().String() + " " + strings.TrimPrefix(path, dir))
		if i.Mode().IsRegular() {
			b.WriteString(" " + read(t, path))
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// configs are those that people have.
var configs = map[string]string{
	"empty":                  "",
	"a host":                 "Host x\n    User y\n",
	"no newline at the end":  "# mine\nHost x\n    User y",
	"no newline at all":      "Compression yes",
	"lines of Windows":       "Host x\r\n    User y\r\n",
	"mark of Windows":        byteOrderMark + "Host x\r\n    User y\r\n",
	"only a newline":         "\n",
	"another Include":        "Include config.d/*\nHost *\n    User z\n",
	"comments and odd bytes": "# \xff\xfe é\n\n\n\tHost=x\n\n# end",
	"ours for one host only": "Host x\n    Include ssmpipe.configs\n",
}

func TestUninstallRestoresWhatInstallFound(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			home := homeWith(t, config)
			before := tree(t, home)
			for range 3 {
				install(t, home)
				once := tree(t, home)
				if did := install(t, home); len(did) != 0 || tree(t, home) != once {
					t.Errorf("the second time it did %q", did)
				}
				end := "\n"
				if strings.Contains(config, "\r\n") {
					end = "\r\n"
				}
				rest, marked := strings.CutPrefix(config, byteOrderMark)
				want := includeLine + end + rest
				if marked {
					want = byteOrderMark + want
				}
				if got := read(t, home, ".ssh", "config"); got != want {
					t.Errorf("installed: %q, want %q", got, want)
				}
				if got, want := read(t, home, ".ssh", FileName), string(someText(t, home)); got != want {
					t.Errorf("wrote %q", got)
				}
				uninstall(t, home)
				if after := tree(t, home); after != before {
					t.Errorf("before:\n%s\nafter:\n%s", before, after)
				}
			}
			if did := uninstall(t, home); len(did) != 0 {
				t.Errorf("with nothing installed it did %q", did)
			}
		})
	}
}

// FuzzInclude has a ~/.ssh/config of anything.
func FuzzInclude(f *testing.F) {
	for _, config := range configs {
		f.Add([]byte(config))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		if _, has := exclude(config); has {
			t.Skip("the line is there")
		}
		with, changed := include(config)
		if !changed {
			if !bytes.Contains(config, []byte(FileName)) {
				t.Errorf("%q was taken to include it", config)
			}
			return
		}
		if again, changed := include(with); changed {
			t.Errorf("twice: %q", again)
		}
		if without, _ := exclude(with); !bytes.Equal(without, config) {
			t.Errorf("%q became %q", config, without)
		}
	})
}

func TestInstallMakesWhatIsMissing(t *testing.T) {
	home := t.TempDir()
	if did := install(t, home); len(did) != 3 {
		t.Errorf("did %q", did)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]fs.FileMode{".ssh": fs.ModeDir | 0o700, ".ssh/config": 0o600, ".ssh/" + FileName: 0o600} {
			if i, err := os.Stat(filepath.Join(home, name)); err != nil || i.Mode() != want {
				t.Errorf("%s: %v, %v", name, i.Mode(), err)
			}
		}
	}
	install(t, home)                               // and remembers what it has made
	keys := filepath.Join(home, ".ssh", "ssmpipe") // which ssmpipe proxy makes
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(keys, "key"), "secret")
	put(t, filepath.Join(keys, "key.pub"), "ssh-ed25519 AAAA made by ssmpipe, which replaces it daily\n")
	put(t, filepath.Join(keys, "key.lock"), "")
	uninstall(t, home)
	if left := tree(t, home); strings.Count(left, "\n") != 1 {
		t.Errorf("left:\n%s", left)
	}
}

func TestUninstallLeavesWhatOthersHavePut(t *testing.T) {
	home := t.TempDir()
	install(t, home)
	config := filepath.Join(home, ".ssh", "config")
	put(t, config, read(t, config)+"Host x\n")
	put(t, filepath.Join(home, ".ssh", "known_hosts"), "x ssh-ed25519 AAAA\n")
	keys := filepath.Join(home, ".ssh", "ssmpipe")
	os.Mkdir(keys, 0o700)
	put(t, filepath.Join(keys, "key"), "his own")
	put(t, filepath.Join(keys, "key.pub"), "ssh-ed25519 AAAA his own\n")
	did := uninstall(t, home)
	if got := read(t, keys, "key"); got != "his own" {
		t.Errorf("key is %q", got)
	}
	if got := read(t, config); got != "Host x\n" {
		t.Errorf("config is %q", got)
	}
	if got := read(t, home, ".ssh", "known_hosts"); got == "" {
		t.Error("known_hosts is empty")
	}
	if !strings.Contains(strings.Join(did, "\n"), "not empty") {
		t.Errorf("did %q", did)
	}
}

// TestTheUserMayMoveTheLine has it below settings of his own.
func TestTheUserMayMoveTheLine(t *testing.T) {
	moved := "Compression yes\n\tinclude  other ssmpipe.config\nHost x\n"
	home := homeWith(t, moved)
	install(t, home)
	if got := read(t, home, ".ssh", "config"); got != moved {
		t.Errorf("installed: %q", got)
	}
	for _, keyword := range []string{"Host", "match originalhost"} {
		below := keyword + " x\n    Include ssmpipe.config\n" // for x only
		home = homeWith(t, below)
		install(t, home)
		if got := read(t, home, ".ssh", "config"); got != includeLine+"\n"+below {
			t.Errorf("installed: %q", got)
		}
	}
	home = homeWith(t, "Compression yes\n  "+includeLine+"  \nHost x\n")
	install(t, home)
	uninstall(t, home)
	if got := read(t, home, ".ssh", "config"); got != "Compression yes\nHost x\n" {
		t.Errorf("uninstalled: %q", got)
	}
}

func TestInstallRefreshes(t *testing.T) {
	home := homeWith(t, "Host x\n")
	install(t, home)
	other := []byte(write(t, Options{Executable: "/bin/other", Home: home}))
	did, err := Install(home, other)
	if err != nil || len(did) != 1 || read(t, home, ".ssh", FileName) != string(other) {
		t.Errorf("did %q, %v", did, err)
	}
}

func TestInstallKeepsModesAndLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes there")
	}
	home := t.TempDir()
	dotfiles := filepath.Join(home, "dotfiles")
	os.Mkdir(dotfiles, 0o755)
	os.Mkdir(filepath.Join(home, ".ssh"), 0o755)
	put(t, filepath.Join(dotfiles, "ssh"), "Host x\n")
	os.Chmod(filepath.Join(dotfiles, "ssh"), 0o644)
	if err := os.Symlink("../dotfiles/ssh", filepath.Join(home, ".ssh", "config")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, home)
	install(t, home)
	if got := read(t, dotfiles, "ssh"); got != includeLine+"\nHost x\n" {
		t.Errorf("what the link leads to is %q", got)
	}
	if i, _ := os.Lstat(filepath.Join(home, ".ssh", "config")); i.Mode()&fs.ModeSymlink == 0 {
		t.Error("the link is none any more")
	}
	if i, _ := os.Stat(filepath.Join(dotfiles, "ssh")); i.Mode() != 0o644 {
		t.Errorf("mode %v", i.Mode())
	}
	uninstall(t, home)
	if after := tree(t, home); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestNothingIsDoneByHalves has what cannot be worked on.
func TestNothingIsDoneByHalves(t *testing.T) {
	config, file := filepath.Join(".ssh", "config"), filepath.Join(".ssh", FileName)
	for name, test := range map[string]struct {
		prepare func(home string) error
		want    string
	}{
		".ssh is a file": {func(home string) error { return os.WriteFile(filepath.Join(home, ".ssh"), nil, 0o600) },
			"is not a directory"},
		"the config is a directory": {func(home string) error { return os.MkdirAll(filepath.Join(home, config), 0o700) },
			"is not a file"},
		"the config leads nowhere": {func(home string) error {
			return errors.Join(os.Mkdir(filepath.Join(home, ".ssh"), 0o700), os.Symlink("nowhere", filepath.Join(home, config)))
		}, "a link to a file that does not exist"},
		"the config is UTF-16": {func(home string) error {
			return errors.Join(os.Mkdir(filepath.Join(home, ".ssh"), 0o700), os.WriteFile(filepath.Join(home, config), []byte("\xff\xfeH\x00"), 0o600))
		}, "not text"},
		"the file is somebody's": {func(home string) error {
			return errors.Join(os.Mkdir(filepath.Join(home, ".ssh"), 0o700), os.WriteFile(filepath.Join(home, file), []byte("Host x\n"), 0o600))
		}, "not made by ssmpipe"},
		"the file is a directory": {func(home string) error { return os.MkdirAll(filepath.Join(home, file), 0o700) },
			"is not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			if err := test.prepare(home); err != nil {
				t.Skip(err) // a system without links
			}
			before := tree(t, home)
			_, err1 := Install(home, someText(t, home))
			_, err2 := Uninstall(home)
			for _, err := range []error{err1, err2} {
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), home) {
					t.Errorf("error %v", err)
				}
			}
			if after := tree(t, home); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}
