//go:build unix

package sshconfig

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// asNobody runs the same test in a process of an ordinary user if this is root,
// whom no mode keeps out, and gives dir to him. It says whether to go on here.
func asNobody(t *testing.T, dir string) (here bool) {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "test") // the directory of exe may not be open to him
	if err := os.WriteFile(copied, []byte(read(t, exe)), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, rigtest.Again+"=1")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// TestWhatIsReadOnlyStaysSo has a config that its user has protected, and one in
// a directory that is.
func TestWhatIsReadOnlyStaysSo(t *testing.T) {
	top, err := os.MkdirTemp("", "readonly")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if !asNobody(t, top) {
		return
	}
	for _, mode := range []os.FileMode{0o400, 0o000} {
		home := homeWith(t, "Host x\n")
		config := filepath.Join(home, ".ssh", "config")
		if err := os.Chmod(config, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Install(home, someText(t, home)); err == nil || !strings.Contains(err.Error(), config) {
			t.Errorf("mode %v: %v", mode, err)
		}
		os.Chmod(config, 0o600)
		if got := read(t, config); got != "Host x\n" {
			t.Errorf("mode %v: config is %q", mode, got)
		}
		if _, err := os.Stat(filepath.Join(home, ".ssh", FileName)); err == nil {
			t.Errorf("mode %v: the file is there, and nothing leads to it", mode)
		}
	}
	home := homeWith(t, "Host x\n")
	before := tree(t, home)
	dir := filepath.Join(home, ".ssh")
	os.Chmod(dir, 0o500)
	_, err = Install(home, someText(t, home))
	os.Chmod(dir, 0o700)
	if err == nil || !strings.Contains(err.Error(), dir) || tree(t, home) != before {
		t.Errorf("directory: %v", err)
	}
}
