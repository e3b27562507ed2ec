package stdio

import (
	"io"
	"sync"
)

// Output is a command's output. It keeps the first error, because not all
// callers check errors, and a command whose output was not written has not
// succeeded. It is safe for concurrent use.
type Output struct {
	mu  sync.Mutex
	out checkedWriter
}

// NewOutput returns an Output that writes to w.
func NewOutput(w io.Writer) *Output { return &Output{out: checkedWriter{w: w}} }

// Write implements io.Writer. After an error it writes nothing more.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.out.err != nil {
		return 0, o.out.err
	}
	n, _ := o.out.Write(p)
	return n, o.out.err
}

// Err returns the first error. It is [ErrGone] if the reader has gone.
func (o *Output) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.err
}
