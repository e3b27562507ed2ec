package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/ssmproto/rawio"
)

// pipeSize is what ssh may have written before we read it, in bytes. A pipe
// holds 64 KiB otherwise, and bulk fills it: on a slow path a keystroke waits
// long behind that, in a queue that we cannot see.
const pipeSize = 16 << 10

// pipe is a pipe of ours, opened once more in non-blocking mode: a mode of the
// one that we were given would be everybody's who has it.
type pipe struct {
	file *os.File
	raw  *rawio.File
}

// reopen returns f for reading or writing, with O_RDONLY or O_WRONLY as flag,
// or nil if f is no pipe or cannot be opened again.
func reopen(f *os.File, flag int) *pipe {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	var file *os.File
	conn.Control(func(fd uintptr) {
		file, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), flag|unix.O_NONBLOCK, 0)
	})
	if err != nil {
		return nil
	}
	raw := rawio.New(file)
	if raw == nil {
		file.Close()
		return nil
	}
	return &pipe{file, raw}
}

// shorten makes the queue in the pipe short. It fails if there is more in it.
func (p *pipe) shorten() {
	conn, err := p.file.SyscallConn()
	if err == nil {
		conn.Control(func(fd uintptr) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}

// openStdio opens stdin and stdout for a stream, or returns nil if they are not
// two pipes, as ssh makes them.
func openStdio(stdin, stdout *os.File) io.ReadWriteCloser {
	in := reopen(stdin, os.O_RDONLY)
	if in == nil {
		return nil
	}
	out := reopen(stdout, os.O_WRONLY)
	if out == nil {
		in.file.Close()
		return nil
	}
	in.shorten()
	return &pipes{in, out}
}

// pipes is stdin and stdout.
type pipes struct{ in, out *pipe }

func (p *pipes) Read(b []byte) (int, error)  { return p.in.raw.Read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.out.raw.Write(b) }
func (p *pipes) Close() error                { return errors.Join(p.in.file.Close(), p.out.file.Close()) }
