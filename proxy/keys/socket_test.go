//go:build unix

package keys

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgentSocketsTakeTurns: path leads to the newest that is left, at any time.
func TestAgentSocketsTakeTurns(t *testing.T) {
	path := shortSocket(t)
	open := func() *agentSocket {
		t.Helper()
		s, err := openAgentSocket(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	leadsTo := func(want *agentSocket) {
		t.Helper()
		go net.Dial("unix", path)
		conn, err := want.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if !want.is(path) {
			t.Errorf("%s does not lead to %s", path, want.own)
		}
	}
	other, err := openAgentSocket(path + "2") // of another machine: it has no part in this
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	first, second, third := open(), open(), open()
	leadsTo(third)
	second.close()
	leadsTo(third)
	third.close()
	if to, _ := os.Readlink(path); to != filepath.Base(first.own) {
		t.Errorf("leads to %s, not to the first", to)
	}
	// Left by a process that was killed in the middle.
	os.Symlink(filepath.Base(first.own), ownSocket(path))
	fourth := open()
	leadsTo(fourth)
	first.restore() // has nothing to do
	leadsTo(fourth)
	os.Remove(path) // by one that had the lock when it was stopped
	fourth.restore()
	leadsTo(fourth)
	if other.is(path) || fourth.is(path+"2") {
		t.Error("two paths are one")
	}
	first.close()
	fourth.close()
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(list) != 2 || list[1].Name() != filepath.Base(path)+"2" {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestAgentSocketFindsAName: one that is taken, by whatever is there, is no
// reason to go without.
func TestAgentSocketFindsAName(t *testing.T) {
	path := shortSocket(t)
	takeHalf := func() {
		const letters = "abcdefghijklmnopqrstuvwxyz234567" // rand.Text's
		name := ownSocket(path)
		for _, a := range letters[:len(letters)/2] {
			for _, b := range letters {
				taken := name[:len(name)-2] + string(a) + string(b)
				if f, err := os.OpenFile(taken, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
					f.Close()
				}
			}
		}
	}
	for range 4 {
		takeHalf()
		s, err := openAgentSocket(path)
		if err != nil {
			t.Fatal(err)
		}
		takeHalf()
		os.Remove(path)
		if s.restore(); !s.is(path) {
			t.Error("the path was not restored")
		}
		s.close()
	}
}

// TestAgentSocketLeavesOthersFilesAlone, and somebody's own agent above all.
func TestAgentSocketLeavesOthersFilesAlone(t *testing.T) {
	path := shortSocket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, put := range []func() error{
		func() error { return nil },
		func() error { l.Close(); return os.WriteFile(path, nil, 0o600) },
		func() error { os.Remove(path); return os.Symlink("elsewhere", path) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(path)
		if s, err := openAgentSocket(path); err == nil || !strings.Contains(err.Error(), "not made by ssmpipe") {
			t.Errorf("%v, %v", s, err)
		}
		if now, err := os.Lstat(path); err != nil || !os.SameFile(now, before) {
			t.Errorf("%v, %v", now, err)
		}
		if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
			t.Errorf("left: %v", list)
		}
	}
}

// TestSocketPath: what ssh puts in for its tokens leads to no other directory.
func TestSocketPath(t *testing.T) {
	for path, good := range map[string]bool{
		"/home/me/.ssh/ssmpipe/root@web-1.22": true,
		"/d/with space/-a@b;c.22":             true,
		"/d/..":                               false,
		"/d/../etc/x@y.22":                    false,
		"/d//etc/x@y.22":                      false,
		"/d/./x":                              false,
		"/d/x/":                               false,
		"/":                                   false,
		"":                                    false,
		"d/x":                                 false,
		"~/x":                                 false,
		"/" + strings.Repeat("d", 110):        false,
		"/d/" + strings.Repeat("x", 85):       true,
		"/" + strings.Repeat("d", 90) + "/a@b.22":    false, // what it leads to is longer
		"/" + strings.Repeat("d", 80) + "/user@b.22": true,
	} {
		if err := CheckSocket(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
}
