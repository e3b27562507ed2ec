package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// sessionMembers returns the processes of a session that have not ended: the
// jobs of an interactive shell have process groups of their own.
func sessionMembers(session int) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// proc_pid_stat(5): the name, in parentheses, may contain anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 4 || string(fields[3]) != strconv.Itoa(session) || bytes.ContainsAny(fields[0], "ZX") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
