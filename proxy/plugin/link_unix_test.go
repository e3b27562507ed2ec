//go:build unix

package plugin_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// linkRig is a home with directories for programs, and ssmpipe in one of them.
type linkRig struct {
	home string
	path []string // in it
	env  []string
}

func newLinkRig(t testing.TB, path ...string) *linkRig {
	t.Helper()
	r := &linkRig{home: t.TempDir(), path: path}
	for _, d := range append(path, "opt") {
		if err := os.MkdirAll(filepath.Join(r.home, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(rigtest.SSMPipe, filepath.Join(r.home, "opt", "ssmpipe")); err != nil {
		rigtest.WriteFile(t, filepath.Join(r.home, "opt", "ssmpipe"), string(rigtest.ReadFile(t, rigtest.SSMPipe)))
		os.Chmod(filepath.Join(r.home, "opt", "ssmpipe"), 0o700)
	}
	var dirs []string
	for _, d := range path {
		dirs = append(dirs, filepath.Join(r.home, d))
	}
	r.env = append(os.Environ(), "HOME="+r.home, "PATH="+strings.Join(dirs, ":"))
	return r
}

func (r *linkRig) plugin(t testing.TB, args ...string) rigtest.Result {
	t.Helper()
	cmd := exec.Command(filepath.Join(r.home, "opt", "ssmpipe"), append([]string{"plugin"}, args...)...)
	cmd.Env = r.env
	got := rigtest.Run(t, cmd, nil)
	if len(got.Stdout) > 0 {
		t.Errorf("%q: stdout %q", args, got.Stdout)
	}
	return got
}

// at is the plugin in a directory of the rig.
func (r *linkRig) at(dir string) string { return filepath.Join(r.home, dir, "session-manager-plugin") }

// want checks that one is there, and answers, or that there is none.
func (r *linkRig) want(t testing.TB, dir string, there bool) {
	t.Helper()
	out, err := exec.Command(r.at(dir), "--version").Output()
	if _, lost := os.Lstat(r.at(dir)); (err == nil && strings.HasPrefix(string(out), "1.2.")) != there || (lost == nil) != there {
		t.Errorf("%s: %q, %v, %v; want it there: %v", dir, out, err, lost, there)
	}
}

func wantSaid(t testing.TB, got rigtest.Result, status int, texts ...string) {
	t.Helper()
	if got.Status != status || strings.Count(got.Stderr, "\n") != len(texts) {
		t.Errorf("%+v, want status %d and %q", got, status, texts)
	}
	for _, text := range texts {
		if !strings.Contains(got.Stderr, text) {
			t.Errorf("stderr %q, want %q", got.Stderr, text)
		}
	}
}

// foreign is a plugin that is not ours.
func (r *linkRig) foreign(t testing.TB, dir string) {
	t.Helper()
	if err := os.WriteFile(r.at(dir), []byte("#!/bin/sh\necho theirs\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestPluginInstall(t *testing.T) {
	t.Parallel()
	r := newLinkRig(t, "bin", "opt")
	wantSaid(t, r.plugin(t, "--install"), 0, r.at("bin")+" now leads to "+filepath.Join(r.home, "opt", "ssmpipe"))
	r.want(t, "bin", true)
	r.want(t, "opt", false)
	wantSaid(t, r.plugin(t, "--install"), 0, r.at("bin")+" is installed already")
	entries, err := os.ReadDir(filepath.Join(r.home, "bin"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}

	// One of an ssmpipe that was elsewhere is ours as well.
	os.Remove(r.at("bin"))
	if err := os.Symlink("/gone/bin/ssmpipe", r.at("bin")); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, r.plugin(t, "--install"), 0, "leads to")
	r.want(t, "bin", true)

	wantSaid(t, r.plugin(t, "--uninstall"), 0, "removed "+r.at("bin"))
	r.want(t, "bin", false)
	wantSaid(t, r.plugin(t, "--uninstall"), 0, "nothing was installed")
	if _, err := os.Stat(filepath.Join(r.home, "opt", "ssmpipe")); err != nil {
		t.Error(err)
	}
}

// TestPluginInstallPlace: where it is by itself goes by PATH.
func TestPluginInstallPlace(t *testing.T) {
	t.Parallel()
	r := newLinkRig(t, "other", "opt", "bin", ".local/bin")
	wantSaid(t, r.plugin(t, "--install"), 0, r.at(".local/bin")+" now leads to")
	if os.Getuid() != 0 { // whom modes do not keep out
		os.Remove(r.at(".local/bin"))
		os.Chmod(filepath.Join(r.home, ".local/bin"), 0o500)
		wantSaid(t, r.plugin(t, "--install"), 0, r.at("bin")+" now leads to")
		os.Chmod(filepath.Join(r.home, ".local/bin"), 0o700)
	}
	r = newLinkRig(t, "other")
	wantSaid(t, r.plugin(t, "--install"), 1, "no directory on PATH is suitable for this")
	r.want(t, "other", false)
	wantSaid(t, r.plugin(t, "--install", filepath.Join(r.home, "other")), 0, r.at("other")+" now leads to")
	r.want(t, "other", true)
	wantSaid(t, r.plugin(t, "--install", filepath.Join(r.home, "opt")), 0, r.at("opt")+" now leads to", r.at("other")+" comes before it on PATH")
	wantSaid(t, r.plugin(t, "--uninstall", filepath.Join(r.home, "opt")), 0, "removed "+r.at("opt"))
	r.want(t, "other", true)
	wantSaid(t, r.plugin(t, "--install", filepath.Join(r.home, "none")), 1, "no such file or directory")
	os.Mkdir(filepath.Join(r.home, "far"), 0o700)
	os.Remove(r.at("other"))
	wantSaid(t, r.plugin(t, "--install", filepath.Join(r.home, "far")), 0, "leads to", "is not on PATH")
}

// TestPluginInstallLeavesOthers: what is not ours stays, unless it is said.
func TestPluginInstallLeavesOthers(t *testing.T) {
	t.Parallel()
	r := newLinkRig(t, "bin", "opt")
	r.foreign(t, "bin")
	stays := func() {
		t.Helper()
		if out, err := exec.Command(r.at("bin")).Output(); err != nil || string(out) != "theirs\n" {
			t.Errorf("%q, %v", out, err)
		}
	}
	wantSaid(t, r.plugin(t, "--install"), 1, r.at("bin")+": there is a session-manager-plugin that is not ssmpipe; replace it with --force")
	stays()
	wantSaid(t, r.plugin(t, "--uninstall"), 0, "nothing was installed")
	wantSaid(t, r.plugin(t, "--uninstall", filepath.Join(r.home, "bin")), 1, "not ssmpipe; not removed")
	stays()
	// In another directory it may be.
	wantSaid(t, r.plugin(t, "--install", filepath.Join(r.home, "opt")), 0, "leads to", r.at("bin")+" comes before it on PATH")
	stays()
	wantSaid(t, r.plugin(t, "--uninstall"), 0, "removed "+r.at("opt"))
	stays()
	wantSaid(t, r.plugin(t, "--install", filepath.Join(r.home, "bin"), "--force"), 0, "replaced "+r.at("bin"), "leads to")
	r.want(t, "bin", true)
	r.foreign(t, "opt")
	wantSaid(t, r.plugin(t, "--install", "--force", filepath.Join(r.home, "bin")), 0, "is installed already", r.at("opt")+" stays, but comes after it on PATH")
}

// TestPluginInstallFromGoRun: what is gone in a moment is not linked to.
func TestPluginInstallFromGoRun(t *testing.T) {
	t.Parallel()
	r := newLinkRig(t, "bin", "go-build123/b001/exe")
	exe := filepath.Join(r.home, "go-build123/b001/exe/ssmpipe")
	if err := os.Rename(filepath.Join(r.home, "opt/ssmpipe"), exe); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "plugin", "--install")
	cmd.Env = r.env
	wantSaid(t, rigtest.Run(t, cmd, nil), 1, `install it with "go install" first`)
	r.want(t, "bin", false)
}
