//go:build unix

package completion_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
)

// TestCompleteDoesNotWaitForPipes: whatever is where its files should be.
func TestCompleteDoesNotWaitForPipes(t *testing.T) {
	home, env := newHome(t, []awstest.Node{{ID: "i-00000000000000001", Name: "web-1"}})
	if out := complete(t, env, "ssmpipe", "proxy", "web"); !strings.Contains(out, "web-1") {
		t.Fatalf("%q", out)
	}
	for _, dir := range []string{filepath.Join(home, "cache", "ssmpipe"), filepath.Join(home, ".aws"), filepath.Join(home, ".ssh")} {
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", dir, files, err)
		}
		for _, f := range files {
			name := filepath.Join(dir, f.Name())
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, words := range [][]string{
		{"ssmpipe", "proxy", "web"}, {"ssmpipe", "proxy", "--profile", ""}, {"ssh", ""}, {"ssmpipe", "ls", ""},
	} {
		complete(t, env, words...)
	}
}
