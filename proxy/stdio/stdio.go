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

// ErrGone says that the reader of our output has gone.
var ErrGone = errors.New("the reader of stdout has gone")

var errStdout = errors.New("writing to stdout")

// Failed reports whether err means that our output cannot be written:
// [ErrGone], or another such error of [Copy] or [Output].
func Failed(err error) bool {
	return errors.Is(err, ErrGone) || errors.Is(err, errStdout)
}

// Ends are stdin and stdout, prepared for a stream.
type Ends struct {
	In  io.Reader
	Out io.Writer

	pipes io.Closer // our own descriptors for both; nil if the originals are used
	stop  func()
}

// Take returns a process's Ends, and calls gone with [ErrGone] when stdout no
// longer has a reader. Close must be called.
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

// Close stops watching stdout. It does not close stdin and stdout themselves.
func (s *Ends) Close() {
	s.stop()
	if s.pipes != nil {
		s.pipes.Close()
	}
}

// Tune tunes the Go runtime for a process that only pipes s, where possible.
func (s *Ends) Tune() {
	if s.pipes != nil {
		tuneScheduler()
	}
}

// Pipe pipes stdin and stdout over conn as [Copy] does, and ends when stdout no
// longer has a reader. alone says that the process does nothing else. The
// caller must close conn.
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

// Copy copies stdin to conn and conn to stdout until the far side ends (it
// returns nil once everything has been written), stdout cannot be written, or
// ctx ends (it returns ctx's cause). If the cause is [ErrGone] and stdin has
// ended as well, Copy returns nil: that is how a user leaves.
//
// The end of stdin alone ends nothing: the far side may still have much to
// send.
//
// The goroutine that reads stdin lives until stdin ends, which for a process's
// own stdin is when the process exits: not every system can cancel a read from
// a pipe.
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
		case <-stdinDone: // both ends are gone: the user has left
			err = nil
		case <-time.After(leaveTime):
		}
	}
	return err
}

// leaveTime is how long after the reader of stdout has gone the end of stdin
// may come. Only the former is noticed without reading.
const leaveTime = 100 * time.Millisecond

// smallCopy is how much to read at once for a connection that cannot say how
// much it can accept now: the next keystroke waits behind it.
const smallCopy = 4 << 10

// copyIn copies stdin to conn.
func copyIn(conn net.Conn, stdin io.Reader) (int64, error) {
	if c, ok := conn.(io.ReaderFrom); ok {
		return c.ReadFrom(stdin)
	}
	return io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{stdin}, make([]byte, smallCopy))
}

// checkedWriter distinguishes write errors from read errors, and a reader that
// has gone from a full disk.
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
