package stdio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/ssmproto/rawio"
)

// How much ssh may have written before we read it, in bytes. A pipe holds 64 KiB
// if nobody says otherwise, and bulk fills it: on a slow path a keystroke waits
// long behind that, in a queue that we cannot see. On a fast one a short pipe
// makes ssh and us wait for each other.
const (
	slowPipe = 16 << 10
	fastPipe = 64 << 10 // 3 ms at the rate from which on a path is fast

	fastRate  = 20e6      // bytes a second
	rateBytes = 256 << 10 // over which the rate is measured
)

// pipe is a pipe of ours, opened once more in non-blocking mode: a mode of the
// one that we were given would be everybody's who has it.
type pipe struct {
	file *os.File
	raw  *rawio.File
	size int

	n     int // bytes read since
	since time.Time
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
	return &pipe{file: file, raw: raw, since: time.Now()}
}

// setSize sets how much the pipe holds. As long as it holds more it stays as it
// is, so a path that becomes slow during a transfer keeps its long pipe until
// there is a pause; one that is slow from the beginning never gets it.
func (p *pipe) setSize(n int) {
	conn, err := p.file.SyscallConn()
	if err != nil || n == p.size {
		return
	}
	conn.Control(func(fd uintptr) {
		if _, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, n); err == nil {
			p.size = n
		}
	})
}

// read reads, and sets the pipe's size by the rate at which it is emptied.
func (p *pipe) read(b []byte) (int, error) {
	n, err := p.raw.Read(b)
	if p.n += n; p.n >= rateBytes {
		size := slowPipe
		if float64(p.n) > fastRate*time.Since(p.since).Seconds() {
			size = fastPipe
		}
		p.setSize(size)
		p.n, p.since = 0, time.Now()
	}
	return n, err
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
	in.setSize(slowPipe)
	return &pipes{in, out}
}

// pipes is stdin and stdout.
type pipes struct{ in, out *pipe }

func (p *pipes) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.out.raw.Write(b) }
func (p *pipes) Close() error                { return errors.Join(p.in.file.Close(), p.out.file.Close()) }
