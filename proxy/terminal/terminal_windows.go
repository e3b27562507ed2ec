package terminal

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/term"
)

// CanSuspend says whether this system can stop and continue programs.
const CanSuspend = false

// makeRaw also makes the console send keys as escape sequences and interpret
// those of the far side.
func makeRaw(in, out *os.File) (undo func(), err error) {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	screen := windows.Handle(out.Fd())
	var mode uint32
	shown := windows.GetConsoleMode(screen, &mode) == nil
	if shown {
		windows.SetConsoleMode(screen, mode|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING|windows.DISABLE_NEWLINE_AUTO_RETURN)
	}
	return func() {
		if shown {
			windows.SetConsoleMode(screen, mode)
		}
		term.Restore(int(in.Fd()), before)
	}, nil
}

// Watch reports events until Stop is called.
type Watch struct {
	Events <-chan Event

	stop  chan struct{}
	ended chan struct{}
}

// sizePoll is the interval between checks of the size. A console reports size
// changes only among key events, which are not visible when it is read as a file.
const sizePoll = 250 * time.Millisecond

// NewWatch watches the size of the first of files that is a console.
func NewWatch(files ...*os.File) *Watch {
	ch := make(chan Event)
	w := &Watch{Events: ch, stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(sizePoll)
		defer tick.Stop()
		cols, rows, _ := Size(files...)
		for {
			select {
			case <-tick.C:
			case <-w.stop:
				return
			}
			c, r, ok := Size(files...)
			if !ok || c == cols && r == rows {
				continue
			}
			cols, rows = c, r
			select {
			case ch <- Resized:
			case <-w.stop:
				return
			}
		}
	}()
	return w
}

// Stop ends the watch.
func (w *Watch) Stop() {
	close(w.stop)
	<-w.ended
}

// Suspend does nothing here.
func (w *Watch) Suspend() {}

// Reader reads a file.
type Reader struct {
	f       *os.File
	console bool
	stopped chan struct{}
}

// NewReader returns a Reader of f.
func NewReader(f *os.File) *Reader { return &Reader{f, Is(f), make(chan struct{})} }

// Read implements io.Reader. After Stop it returns os.ErrClosed, but only once
// there is input.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	select {
	case <-r.stopped:
		return 0, os.ErrClosed
	default:
	}
	if r.console && n == 0 && err == io.EOF && len(p) > 0 {
		p[0] = 0x1a // Ctrl-Z, which package os treats as the end of input
		return 1, nil
	}
	return n, err
}

// Stop makes Read return os.ErrClosed from then on. It must be called only once.
// A Read that is waiting for a key goes on waiting, because a console's read cannot
// be interrupted.
func (r *Reader) Stop() { close(r.stopped) }

// Close does nothing here.
func (r *Reader) Close() {}
