package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
)

// ErrStdoutClosed says that whoever read our output has gone.
var ErrStdoutClosed = errors.New("the reader of stdout has gone")

// serve pipes stdin into conn and conn into stdout until the far side ends
// (nil, once everything has been written), stdout cannot be written to, or ctx
// ends.
// stdin's end alone ends nothing: the far side may still have much to say.
//
// The goroutine that reads stdin ends with stdin, which for a process is its
// own end: a read from a pipe cannot be called off everywhere.
func serve(ctx context.Context, conn net.Conn, stdin io.Reader, stdout io.Writer, log *slog.Logger) error {
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
	if errors.Is(err, ErrStdoutClosed) {
		select {
		case <-stdinDone: // both ends are gone: that is how a user leaves
			err = nil
		default:
		}
	}
	return err
}

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
	case isGone(err):
		c.err = ErrStdoutClosed
	default:
		c.err = fmt.Errorf("writing to stdout: %w", err)
	}
	return n, err
}
