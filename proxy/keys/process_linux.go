package keys

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxArguments limits how much to read of a process's arguments, in bytes.
// Linux allows 2 MiB by default.
const maxArguments = 4 << 20

// processOf returns what /proc says about a process.
func processOf(pid int) (*process, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	f, err := os.Open(dir + "cmdline")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxArguments))
	if err != nil {
		return nil, err
	}
	p := &process{args: strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")}
	p.exe, _ = os.Readlink(dir + "exe")
	// The name, in parentheses, may contain anything; the state and the parent
	// follow it.
	stat, err := os.ReadFile(dir + "stat")
	if err == nil {
		if fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); len(fields) > 1 {
			p.parent, _ = strconv.Atoi(fields[1])
		}
	}
	return p, nil
}

// peerPID returns the pid of the process at the other end of a Unix socket, or
// 0.
func peerPID(conn *net.UnixConn) (pid int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
