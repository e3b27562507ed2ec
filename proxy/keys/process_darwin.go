package keys

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// processOf returns what the kernel knows of a process of this user.
func processOf(pid int) (*process, error) {
	text, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return nil, err
	}
	// The buffer holds the number of arguments, the file name, zeros, and the
	// arguments; see ps(1)'s source.
	if len(text) < 4 {
		return nil, errors.New("no arguments")
	}
	count := int(binary.NativeEndian.Uint32(text))
	exe, rest, _ := bytes.Cut(text[4:], []byte{0})
	rest = bytes.TrimLeft(rest, "\x00")
	p := &process{exe: string(exe)}
	for ; count > 0 && len(rest) > 0; count-- {
		var arg []byte
		arg, rest, _ = bytes.Cut(rest, []byte{0})
		p.args = append(p.args, string(arg))
	}
	if info, err := unix.SysctlKinfoProc("kern.proc.pid", pid); err == nil {
		p.parent = int(info.Eproc.Ppid)
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
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID); err == nil {
			pid = n
		}
	})
	return pid
}
