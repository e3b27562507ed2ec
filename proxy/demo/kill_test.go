//go:build unix

package demo

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestKilledClientLeavesNoProcess(t *testing.T) {
	need(t, "ps")
	for name, command := range map[string]string{
		"a waiting shell":        "echo $$; sleep 300; :",
		"one that ignores HUP":   "trap '' HUP; echo $$; sleep 300; :",
		"a process beside it":    "sleep 300 >/dev/null 2>&1 </dev/null & echo $$; wait",
		"a process that it left": "sleep 300 & echo $$",
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestSSHD(t)
			cmd := s.ssh(command)
			group := startAndReadPID(t, cmd, nil)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			eventually(t, func() bool { return groupIsGone(group) }, func() string { return "a process is left" })
		})
	}
}

func TestCloseKillsWhatRuns(t *testing.T) {
	s := newTestSSHD(t)
	cmd := s.ssh("trap '' HUP TERM; echo $$; sleep 300; :")
	group := startAndReadPID(t, cmd, nil)
	start := time.Now()
	if err := s.sshd.Close(); err != nil {
		t.Fatal(err)
	}
	if !groupIsGone(group) {
		t.Error("a process is left")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	_ = cmd.Wait()
	s.listener, _ = net.Listen("tcp", "127.0.0.1:0") // for the second Close
}

// startAndReadPID starts cmd and returns the number that it prints first.
func startAndReadPID(t *testing.T, cmd *exec.Cmd, stderr io.Writer) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, stderr
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(r, &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// groupIsGone says whether no process of the group is left. One that has ended
// but that nobody has waited for is as good as gone: in a container without an
// init that reaps, orphans stay so.
func groupIsGone(group int) bool {
	if err := syscall.Kill(-group, 0); err != nil {
		return true
	}
	out, err := exec.Command("ps", "-e", "-o", "pgid=", "-o", "stat=").Output()
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == strconv.Itoa(group) && !strings.HasPrefix(f[1], "Z") {
			return false
		}
	}
	return true
}
