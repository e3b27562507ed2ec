package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// fdName is by what name this process may open a file's other self.
func fdName(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// isWriting says whether a thread of a process waits in a write to a pipe.
func isWriting(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, name := range threads {
		text, _ := os.ReadFile(name)
		if number, _, _ := strings.Cut(string(text), " "); number == strconv.Itoa(syscall.SYS_WRITE) {
			return true
		}
	}
	return false
}
