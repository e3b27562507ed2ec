// Package rawio reads from and writes to sockets and pipes with system calls
// that bypass Go's scheduler.
//
// The scheduler prepares for an ordinary system call to block, and if the
// process was idle it wakes a thread to watch the call, which then spins for a
// millisecond. That costs several times as much as the call itself, and a
// process that is idle between messages pays it for each of them. Calls on a
// descriptor in non-blocking mode cannot block, so they need none of it.
package rawio

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// File is a descriptor in non-blocking mode that the runtime's poller watches.
// One goroutine may read and one may write at a time.
type File struct {
	conn syscall.RawConn

	gather gather

	in     []byte
	inN    int
	inErr  syscall.Errno
	out    []byte
	outErr syscall.Errno

	tryRead, tryWrite func(fd uintptr) bool // made once: each closure is an allocation
}

// New returns a File for c's descriptor, which remains c's: its deadlines
// apply, and closing c unblocks the File's methods. It returns nil if the
// descriptor cannot be used in this way; use c's own methods then.
func New(c syscall.Conn) *File {
	conn, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	nonblocking := false
	err = conn.Control(func(fd uintptr) {
		flags, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
		nonblocking = errno == 0 && flags&syscall.O_NONBLOCK != 0
	})
	if err != nil || !nonblocking {
		return nil
	}
	f := &File{conn: conn}
	f.tryRead, f.tryWrite = f.read, f.write
	return f
}

// Read reads the available data, and waits if there is none.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.gather.look()
	f.in = p
	err := f.conn.Read(f.tryRead)
	f.in = nil
	switch {
	case err != nil:
		return 0, err
	case f.inErr != 0:
		return 0, os.NewSyscallError("read", f.inErr)
	case f.inN == 0:
		return 0, io.EOF
	}
	return f.inN, nil
}

// read returns false if there is nothing to read yet.
func (f *File) read(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&f.in[0])), uintptr(len(f.in)))
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			f.gather.waiting()
			return false
		}
		f.inN, f.inErr = int(n), errno
		return true
	}
}

// Write writes all of p.
func (f *File) Write(p []byte) (int, error) {
	f.out, f.outErr = p, 0
	err := f.conn.Write(f.tryWrite)
	n := len(p) - len(f.out)
	f.out = nil
	if err == nil && f.outErr != 0 {
		err = os.NewSyscallError("write", f.outErr)
	}
	return n, err
}

// write returns false if the descriptor has no room for the rest yet.
func (f *File) write(fd uintptr) bool {
	for len(f.out) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&f.out[0])), uintptr(len(f.out)))
		switch errno {
		case 0:
			f.out = f.out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			f.outErr = errno
			return true
		}
	}
	return true
}
