//go:build unix

package completion_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A terminal has a shell in it.
type terminal struct {
	*os.File
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // says that out has grown
	seen int           // how far expect has got
	ends int           // lines that were given up
}

// tab is what is typed for an answer.
const tab = "\t"

// newShell starts a shell whose start-up files are in home. Its prompt is
// "ready> ". There is a command "show" that prints its arguments.
func newShell(t *testing.T, home string, env []string, name string, args ...string) *terminal {
	t.Helper()
	path := need(t, name)
	bin := filepath.Join(home, "bin")
	writeFile(t, filepath.Join(bin, "show"), "#!/bin/sh\nfor a; do printf '[%s]' \"$a\"; done\necho ' shown'\n")
	if err := os.Chmod(filepath.Join(bin, "show"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = home
	cmd.Env = env
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 100, Cols: 160})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{File: file, more: make(chan struct{}, 1)}
	end := make(chan struct{})
	go func() {
		defer close(end)
		buf := make([]byte, 4096)
		for {
			n, err := file.Read(buf)
			term.mu.Lock()
			term.out.Write(buf[:n])
			term.mu.Unlock()
			select {
			case term.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		<-end
		file.Close()
		if t.Failed() {
			t.Logf("the terminal: %q", term.output())
		}
	})
	term.expect(t, `ready> `)
	return term
}

func (term *terminal) output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.out.String()
}

// escapes are what shells send to a terminal beside text.
var escapes = regexp.MustCompile("\x1b\\[[0-9;?>=]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(\x07|\x1b\\\\)|\x1b[()][A-Z0-9]|\x1b[=>78M]|[\x00-\x09\x0b-\x1f]")

// expect waits for text that matches and comes after what was expected before,
// and returns it.
func (term *terminal) expect(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(limit)
	for {
		text := escapes.ReplaceAllString(term.output()[term.seen:], "")
		if found := re.FindString(text); found != "" {
			return found
		}
		select {
		case <-term.more:
		case <-late:
			t.Fatalf("no %s in %s", pattern, strconv.Quote(text))
		}
	}
}

// typed types keys. What is expected afterwards is what comes then.
func (term *terminal) typed(t *testing.T, keys string) {
	t.Helper()
	term.mu.Lock()
	term.seen = term.out.Len()
	term.mu.Unlock()
	if _, err := term.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// becomes types keys, with a Tab after them, and says what the shell takes the
// line for then.
func (term *terminal) becomes(t *testing.T, keys string, want ...string) {
	t.Helper()
	term.typed(t, keys+tab+"\x01show \r") // at the beginning of the line
	line := term.expect(t, `(?s)\[.*\] shown`)
	if wanted := "[" + strings.Join(want, "][") + "] shown"; !strings.HasSuffix(line, wanted) {
		t.Errorf("%q and Tab became %q, want %s", keys, line, wanted)
	}
	term.expect(t, `shown(?s:.*)ready> `)
}

// offers types keys with a Tab after them, sees all that is wanted in what the
// shell lists, and returns how long that took.
func (term *terminal) offers(t *testing.T, keys string, want ...string) time.Duration {
	t.Helper()
	term.typed(t, keys)
	start := time.Now()
	term.typed(t, tab)
	for _, w := range want {
		term.expect(t, w)
	}
	took := time.Since(start)
	term.ends++
	end := fmt.Sprintf("end-%d", term.ends)
	term.typed(t, "\x01\x0bshow "+end+"\r") // in the place of the line
	term.expect(t, `\[`+end+`\] shown(?s:.*)ready> `)
	return took
}

// TestNobodyIsAskedForACode has the list fetched with a profile that wants an
// MFA code, by a shell whose terminal could be asked on.
func TestNobodyIsAskedForACode(t *testing.T) {
	srv, home := service(t, oneNode)
	writeFile(t, filepath.Join(home, ".aws", "config"), `[profile mfa]
role_arn = arn:aws:iam::123456789012:role/r
mfa_serial = arn:aws:iam::123456789012:mfa/me
source_profile = keys
[profile keys]
aws_access_key_id = x
aws_secret_access_key = y
`)
	term := startBash(t, home, append(environ(home, srv), "AWS_PROFILE=mfa", "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="), script)
	term.becomes(t, "ssmpipe proxy uni", "ssmpipe", "proxy", "uni")
	waitFor(t, "note of the failure", func() bool { return nextTurn(home).After(time.Now().Add(2 * time.Minute)) })
	term.becomes(t, "ssmpipe pro", "ssmpipe", "proxy")
	if strings.Contains(term.output(), "MFA") {
		t.Error("somebody was asked")
	}
}
