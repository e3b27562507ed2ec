package keys

import (
	"net"
	"unsafe"

	"golang.org/x/sys/windows"
)

// processOf returns what the kernel knows of a process of this user, except its
// parent: on Windows ssh starts a ProxyCommand directly.
func processOf(pid int) (*process, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return nil, err
	}
	defer windows.CloseHandle(h)
	buf := make([]uint64, 9<<10) // a command line is at most 64 KiB; aligned for the header before it
	var size uint32
	err = windows.NtQueryInformationProcess(h, windows.ProcessCommandLineInformation, unsafe.Pointer(&buf[0]), uint32(len(buf)*8), &size)
	if err != nil {
		return nil, err
	}
	args, err := windows.DecomposeCommandLine((*windows.NTUnicodeString)(unsafe.Pointer(&buf[0])).String())
	if err != nil {
		return nil, err
	}
	p := &process{args: args}
	name := make([]uint16, windows.MAX_LONG_PATH)
	length := uint32(len(name))
	if windows.QueryFullProcessImageName(h, 0, &name[0], &length) == nil {
		p.exe = windows.UTF16ToString(name[:length])
	}
	return p, nil
}

// peerPID returns 0: on Windows ssh cannot use a Unix socket for an agent.
func peerPID(*net.UnixConn) int { return 0 }
