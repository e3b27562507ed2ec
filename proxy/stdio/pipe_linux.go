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

// How far ssh may write ahead of us, in bytes. A pipe holds 64 KiB by default,
// and a bulk transfer fills it. On a slow path a keystroke then waits long
// behind that data, in a queue that we cannot see. On a fast path a short pipe
// makes ssh and us wait for each other.
const (
	slowPipe = 16 << 10
	fastPipe = 64 << 10 // 3 ms at fastRate, the rate from which a path counts as fast

	fastRate  = 20e6      // bytes per second
	rateBytes = 256 << 10 // amount of data over which the rate is measured
)

// pipe is our own descriptor of a pipe, reopened in non-blocking mode: changing
// the mode of the descriptor that we were given would affect every process that
// shares it.
type pipe struct {
	file *os.File
	raw  *rawio.File
	size int

	n     int // bytes read since
	since time.Time
}

// reopen opens f again for reading or writing, with O_RDONLY or O_WRONLY as
// flag. It returns nil if f is not a pipe or cannot be reopened.
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

// setSize sets the capacity of the pipe. The capacity cannot shrink while the
// pipe holds more data, so a path that becomes slow during a transfer keeps its
// long pipe until there is a pause. A path that is slow from the beginning
// never gets a long pipe.
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

// read reads, and sets the pipe's size by the rate at which it is read.
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

// openStdio reopens stdin and stdout for a stream, or returns nil if they are
// not two pipes, as ssh creates them.
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

// pipes is a reopened stdin and stdout.
type pipes struct{ in, out *pipe }

func (p *pipes) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.out.raw.Write(b) }
func (p *pipes) Close() error                { return errors.Join(p.in.file.Close(), p.out.file.Close()) }
