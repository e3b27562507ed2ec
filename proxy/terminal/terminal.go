// Package terminal has the user's terminal in raw mode for as long as a far one
// is shown on it, and gives it back as it was on every way out.
package terminal

import (
	"context"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
)

// Is says whether f is a terminal.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Size returns how large the first of files is that is a terminal and says so.
func Size(files ...*os.File) (cols, rows int, ok bool) {
	for _, f := range files {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 && rows > 0 {
			return cols, rows, true
		}
	}
	return 0, 0, false
}

// Raw is a terminal that hands over each key as it is typed, and shows what it
// gets as it is. A nil Raw is no terminal: nothing is done to it. All methods
// may be called concurrently.
type Raw struct {
	in, out *os.File

	mu     sync.Mutex
	undo   func() // nil while the terminal is as it was
	forget func() // takes back that it is to be restored if the process is ended
}

// MakeRaw puts a terminal into raw mode: in is where keys come from, out is where
// they are shown, if that is a terminal too. Restore must be called.
func MakeRaw(in, out *os.File) (*Raw, error) {
	r := &Raw{in: in, out: out}
	return r, r.Again()
}

// Again is for a terminal that somebody else has had meanwhile, or that has been
// restored.
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

// Restore makes the terminal what it was before, unless it is that already.
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

// Protect runs f, which a goroutine of its own does, and restores the terminal
// if f panics: no other goroutine could do that then.
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

// Event is what happens to a terminal, or to the program on it.
type Event int

// The events.
const (
	Resized   Event = iota
	Suspended       // the program was asked to stop
	Continued       // it goes on after a stop
	Quit            // it was asked to end, and could not be told by SIGTERM
)
