package stdio

import (
	"io"
	"sync"
)

// Output is where a command prints. It keeps the first error, which not all that
// print look at: what has not been printed is no success. It may be used
// concurrently.
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

// Err returns the first error, which is [ErrGone] if nobody reads any more.
func (o *Output) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.err
}
