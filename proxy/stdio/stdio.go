package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"
)

// ErrGone says that whoever read our output has gone.
var ErrGone = errors.New("the reader of stdout has gone")

var errStdout = errors.New("writing to stdout")

// Failed says whether err is that our output cannot be written: [ErrGone], or
// another error of [Copy] or [Output].
func Failed(err error) bool {
	return errors.Is(err, ErrGone) || errors.Is(err, errStdout)
}

// Ends are stdin and stdout as they are best read and written for a stream.
type Ends struct {
	In  io.Reader
	Out io.Writer

	pipes io.Closer // of our own for both; nil: they are what they are
	stop  func()
}

// Take returns the ends of a process, and calls gone with [ErrGone] when nobody
// reads stdout any more. Close must be called.
func Take(stdin, stdout *os.File, gone func(error)) *Ends {
	s := &Ends{In: stdin, Out: stdout}
	if pipes := openStdio(stdin, stdout); pipes != nil {
		s.In, s.Out, s.pipes = pipes, pipes, pipes
	}
	left, stop := Watch(stdout)
	ended := make(chan struct{})
	s.stop = func() { close(ended); stop() }
	go func() {
		select {
		case <-left:
			gone(ErrGone)
		case <-ended:
		}
	}()
	return s
}

// Close ends the watch. stdin and stdout themselves stay open.
func (s *Ends) Close() {
	s.stop()
	if s.pipes != nil {
		s.pipes.Close()
	}
}

// Tune sets the Go runtime for a process that does nothing but pipe s, if it can
// be.
func (s *Ends) Tune() {
	if s.pipes != nil {
		tuneScheduler()
	}
}

// Pipe pipes stdin and stdout over conn as [Copy] does, and ends when nobody reads
// stdout any more. alone says that the process does nothing else. conn is the
// caller's to close.
func Pipe(ctx context.Context, conn net.Conn, stdin, stdout *os.File, alone bool, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ends := Take(stdin, stdout, cancel)
	defer ends.Close()
	if alone {
		ends.Tune()
	}
	return Copy(ctx, conn, ends.In, ends.Out, log)
}

// Copy pipes stdin into conn and conn into stdout until the far side ends
// (nil, once everything has been written), stdout cannot be written to, or ctx
// ends, with its cause. If that is [ErrGone], and stdin has ended as well, it is
// no error: that is how a user leaves.
//
// stdin's end alone ends nothing: the far side may still have much to say.
//
// The goroutine that reads stdin ends with stdin, which for a process is its
// own end: a read from a pipe cannot be called off everywhere.
func Copy(ctx context.Context, conn net.Conn, stdin io.Reader, stdout io.Writer, log *slog.Logger) error {
	stdinDone := make(chan struct{})
	go func() {
		defer close(stdinDone)
		n, err := copyIn(conn, stdin)
		log.Debug("end of stdin", "bytes", n, "err", err)
	}()
	written := make(chan error, 1)
	go func() {
		out := &checkedWriter{w: stdout}
		_, err := io.Copy(out, conn)
		if out.err != nil {
			err = out.err
		}
		written <- err
	}()
	var err error
	select {
	case err = <-written:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if errors.Is(err, ErrGone) {
		select {
		case <-stdinDone: // both ends are gone: that is how a user leaves
			err = nil
		case <-time.After(leaveTime):
		}
	}
	return err
}

// leaveTime is how long stdin's end may come after that of stdout's reader, which
// is seen without reading.
const leaveTime = 100 * time.Millisecond

// smallCopy is how much is read at once for a connection that cannot say how
// much it would take now: what is typed next waits behind it.
const smallCopy = 4 << 10

// copyIn copies stdin to conn.
func copyIn(conn net.Conn, stdin io.Reader) (int64, error) {
	if c, ok := conn.(io.ReaderFrom); ok {
		return c.ReadFrom(stdin)
	}
	return io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{stdin}, make([]byte, smallCopy))
}

// checkedWriter tells errors of writing from errors of reading, and a reader
// that has gone from a disk that is full.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	switch {
	case err == nil:
	case Failed(err):
		c.err = err
	case isGone(err):
		c.err = ErrGone
	default:
		c.err = fmt.Errorf("%w: %w", errStdout, err)
	}
	return n, err
}
