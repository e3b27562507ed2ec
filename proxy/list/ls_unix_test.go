//go:build unix

package list_test

import (
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/creack/pty"
	"github.com/mattn/go-runewidth"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// onTerminal runs a command in a terminal of that many columns, and returns
// what it shows there.
func (a *account) onTerminal(t *testing.T, columns uint16, env string, args ...string) string {
	t.Helper()
	cmd := a.command(args...)
	cmd.Env = append(append(cmd.Env, "TERM=xterm", "NO_COLOR="), env)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: columns})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	out, _ := io.ReadAll(terminal) // ends with an error on Linux
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %q", err, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// TestColourOnTerminalsOnly, and there not for those who do not want it.
func TestColourOnTerminalsOnly(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{}, fewNodes()...)
	for _, tt := range []struct {
		name, env string
		args      []string
		want      bool
	}{
		{"terminal", "A=B", []string{"ls"}, true},
		{"NO_COLOR", "NO_COLOR=1", []string{"ls"}, false},
		{"dumb terminal", "TERM=dumb", []string{"ls"}, false},
		{"JSON", "A=B", []string{"ls", "--json"}, false},
	} {
		out := a.onTerminal(t, 200, tt.env, tt.args...)
		if got := strings.Contains(out, "\x1b[32m"); got != tt.want || !strings.Contains(out, "i-0web1") {
			t.Errorf("%s: %q", tt.name, out)
		}
	}
	if out := strings.Join(a.run(t, 0, "", "ls"), ""); strings.Contains(out, "\x1b") {
		t.Errorf("pipe: %q", out)
	}
}

// TestLsIsAsWideAsTheTerminal, which one that does not say is taken to be 80
// columns.
func TestLsIsAsWideAsTheTerminal(t *testing.T) {
	t.Parallel()
	nodes := append(fewNodes(), awstest.Node{ID: "i-0long", Name: strings.Repeat("長い名前", 30)})
	a := newAccount(t, ssmtest.Config{}, nodes...)
	for columns, want := range map[uint16]int{0: 80, 60: 60, 100: 100, 150: 150} {
		widest := 0
		for line := range strings.Lines(a.onTerminal(t, columns, "NO_COLOR=1", "ls")) {
			widest = max(widest, runewidth.StringWidth(strings.TrimSuffix(line, "\n")))
		}
		if widest > want || widest < want-20 {
			t.Errorf("%d columns of %d", widest, columns)
		}
	}
	if out := strings.Join(a.run(t, 0, "", "ls"), ""); !strings.Contains(out, nodes[len(nodes)-1].Name) {
		t.Errorf("shortened in a pipe: %q", out)
	}
}

// TestHostileNamesOnTerminals: a tag commands no terminal.
func TestHostileNamesOnTerminals(t *testing.T) {
	t.Parallel()
	const name = "\x1b]0;title\x07\x1b[2J\u009b31m\nroot# \u202egpj.exe\u2066\u200b"
	a := newAccount(t, ssmtest.Config{}, awstest.Node{ID: "mi-0", Name: name, Platform: name, Tags: map[string]string{name: name}})
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}} {
		out := a.onTerminal(t, 120, "NO_COLOR=1", args...)
		if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q in %q", out[i:i+1], out)
		}
		if !strings.Contains(out, "title") || strings.Contains(out, "\nroot") {
			t.Errorf("%q", out)
		}
	}
}
