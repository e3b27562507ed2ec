//go:build unix

package demo

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// A terminal is a local one with ssh in it.
type terminal struct {
	*os.File
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
	end chan struct{}
}

func startInTerminal(t *testing.T, cmd *exec.Cmd, rows, cols uint16) *terminal {
	t.Helper()
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{File: master, cmd: cmd, end: make(chan struct{})}
	go func() {
		defer close(term.end)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			term.mu.Lock()
			term.out.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		<-term.end
		master.Close()
	})
	return term
}

func (term *terminal) output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.out.String()
}

// say types a line.
func (term *terminal) say(t *testing.T, line string) {
	t.Helper()
	if _, err := term.WriteString(line + "\r"); err != nil {
		t.Fatal(err)
	}
}

// expect waits for output that matches, and returns the first group.
func (term *terminal) expect(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	eventually(t, func() bool {
		found = re.FindStringSubmatch(term.output())
		return found != nil
	}, func() string { return "no " + pattern + " in " + strconv.Quote(term.output()) })
	if found == nil {
		t.FailNow()
	}
	return found[len(found)-1]
}

func TestTerminalWithoutALocalOne(t *testing.T) {
	s := newTestSSHD(t)
	stdout, stderr, status := run(t, s.tool("ssh", "-tt", "i-0test", "tty; echo $SSH_TTY; tty -s <&2; exit 4"))
	lines := strings.Split(stdout, "\r\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "/dev/") || lines[0] != lines[1] || status != 4 {
		t.Errorf("stdout %q, stderr %q, status %d", stdout, stderr, status)
	}
}

func TestTerminalHasTheLocalOnesSizeAndModes(t *testing.T) {
	s := newTestSSHD(t)
	// Characters and a flag that are nobody's default.
	cmd := exec.Command("sh", append([]string{"-c", `stty erase ^T -ixon && exec ssh "$@"`, "sh"}, append(s.options, "-t", "i-0test")...)...)
	cmd.Env = append(os.Environ(), "TERM=vt220")
	term := startInTerminal(t, cmd, 33, 77)
	term.expect(t, `tester@i-0test\$ `)
	term.say(t, "stty size; stty -a; echo term=$TERM")
	term.expect(t, `(?s)33 77\r\n.*erase = \^T;.*-ixon.*term=vt220\r\n`)

	if err := pty.Setsize(term.File, &pty.Winsize{Rows: 44, Cols: 88}); err != nil {
		t.Fatal(err)
	}
	// ssh is told by a signal, in its own time.
	term.say(t, "until [ \"$(stty size)\" = '44 88' ]; do sleep 0.05; done; echo res''ized")
	term.expect(t, `resized`)

	term.say(t, "exit 6")
	if err := term.cmd.Wait(); term.cmd.ProcessState.ExitCode() != 6 {
		t.Errorf("ended by %v", err)
	}
}

func TestInterruptReachesTheCommandInTheTerminal(t *testing.T) {
	s := newTestSSHD(t)
	term := startInTerminal(t, s.tool("ssh", "-t", "i-0test", "trap 'echo got it; exit 9' INT; echo ready; while :; do sleep 0.05; done"), 24, 80)
	term.expect(t, `ready`)
	if _, err := term.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	term.expect(t, `got it`)
	if err := term.cmd.Wait(); term.cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("ended by %v", err)
	}
}

func TestLostTerminalEndsTheShellAndItsJobs(t *testing.T) {
	s := newTestSSHD(t)
	term := startInTerminal(t, s.tool("ssh", "-t", "i-0test"), 24, 80)
	term.expect(t, `\$ `)
	term.say(t, "sleep 300 & sleep 301 & echo shell=$$ one=$!.")
	shell, _ := strconv.Atoi(term.expect(t, `shell=(\d+) `))
	job, _ := strconv.Atoi(term.expect(t, `one=(\d+)\.`))
	term.say(t, "sh -c 'echo fore\"\"ground; exec sleep 302'")
	term.expect(t, `foreground`)
	_ = term.cmd.Process.Kill()
	for _, group := range []int{shell, job} {
		eventually(t, func() bool { return groupIsGone(group) }, func() string { return "a process is left" })
	}
}
