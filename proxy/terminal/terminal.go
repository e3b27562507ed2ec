// Package terminal puts the user's terminal into raw mode while a remote terminal
// is shown on it, and restores it however the program ends.
package terminal

import (
	"context"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
)

// Is reports whether f is a terminal.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Size returns the size of the first of files that is a terminal with a known
// size.
func Size(files ...*os.File) (cols, rows int, ok bool) {
	for _, f := range files {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 && rows > 0 {
			return cols, rows, true
		}
	}
	return 0, 0, false
}

// Raw is a terminal in raw mode: it delivers each key as it is typed, and shows
// output unchanged. A nil Raw represents no terminal: its methods change nothing.
// All methods may be called concurrently.
type Raw struct {
	in, out *os.File

	mu     sync.Mutex
	undo   func() // nil while the terminal has its original modes
	forget func() // cancels the restoration at the end of the process
}

// MakeRaw puts a terminal into raw mode. Keys are read from in, and output is
// written to out if that is a terminal too. Restore must be called.
func MakeRaw(in, out *os.File) (*Raw, error) {
	r := &Raw{in: in, out: out}
	return r, r.Again()
}

// Again puts the terminal into raw mode again, after another program has used it
// or after Restore.
func (r *Raw) Again() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	undo, err := makeRaw(r.in, r.out)
	if err == nil && r.undo == nil {
		r.undo = undo
		r.forget = lastly.Add(func(context.Context) { r.Restore() })
	}
	return err
}

// Restore restores the terminal's original modes, unless it has done so already.
func (r *Raw) Restore() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.undo != nil {
		r.undo()
		r.undo = nil
		r.forget()
	}
}

// Protect runs f and restores the terminal if f panics. It is for goroutines of
// their own, since no other goroutine could restore the terminal then.
func (r *Raw) Protect(f func()) {
	panics := true
	defer func() {
		if panics {
			r.Restore()
		}
	}()
	f()
	panics = false
}

// Event is a change of the terminal, or of the program that runs on it.
type Event int

// The events.
const (
	Resized   Event = iota
	Suspended       // the program was asked to stop
	Continued       // it continues after a stop
	Quit            // it was asked to end by other means than SIGTERM
)
