//go:build unix

package terminal

import (
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// CanSuspend says whether this system can stop and continue programs.
const CanSuspend = true

func makeRaw(in, _ *os.File) (undo func(), err error) {
	fd := int(in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	return func() {
		// A background process does not own the terminal, and is stopped if it
		// sets the terminal's modes.
		if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
			return
		}
		term.Restore(fd, before)
	}, nil
}

// Watch reports events until Stop is called.
type Watch struct {
	Events <-chan Event

	signals chan os.Signal
	stop    chan struct{}
	ended   chan struct{}
}

var events = map[os.Signal]Event{
	unix.SIGWINCH: Resized,
	unix.SIGTSTP:  Suspended,
	unix.SIGCONT:  Continued,
	unix.SIGQUIT:  Quit,
}

// NewWatch watches the terminal on which this process runs.
func NewWatch(...*os.File) *Watch {
	ch := make(chan Event)
	w := &Watch{Events: ch, signals: make(chan os.Signal, 16), stop: make(chan struct{}), ended: make(chan struct{})}
	for s := range events {
		if !signal.Ignored(s) {
			signal.Notify(w.signals, s)
		}
	}
	go func() {
		defer close(w.ended)
		for {
			select {
			case s := <-w.signals:
				select {
				case ch <- events[s]:
				case <-w.stop:
					return
				}
			case <-w.stop:
				return
			}
		}
	}()
	return w
}

// Stop ends the watch.
func (w *Watch) Stop() {
	signal.Stop(w.signals)
	close(w.stop)
	<-w.ended
}

// Suspend stops this process, as Ctrl-Z does in a shell, and returns when it
// continues. It uses SIGSTOP, because the Go runtime does not restore the default
// action of SIGTSTP. It does nothing if no shell has started the process in a
// group of its own, since nothing would continue it.
func (w *Watch) Suspend() {
	if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() {
		return
	}
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, unix.SIGCONT)
	defer signal.Stop(goesOn)
	unix.Kill(unix.Getpid(), unix.SIGSTOP)
	<-goesOn // wait for this, since the stop may come a little after the call
}

// Reader reads a file until it is told to stop, which also interrupts a blocked
// read. Close must be called.
type Reader struct {
	f    *os.File
	wake [2]int // a pipe; -1 if there is none
}

// NewReader returns a Reader of f.
func NewReader(f *os.File) *Reader {
	r := &Reader{f: f, wake: [2]int{-1, -1}}
	var wake [2]int
	if unix.Pipe(wake[:]) == nil {
		unix.CloseOnExec(wake[0])
		unix.CloseOnExec(wake[1])
		r.wake = wake
	}
	return r
}

// Read implements io.Reader. After Stop it returns os.ErrClosed.
func (r *Reader) Read(p []byte) (int, error) {
	fd := int(r.f.Fd())
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(r.wake[0]), Events: unix.POLLIN}}
		switch _, err := unix.Poll(fds, -1); {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case fds[1].Revents != 0:
			return 0, os.ErrClosed
		}
		// Files that cannot be polled, such as some devices on macOS, report
		// that and are read nevertheless.
		switch n, err := unix.Read(fd, p); {
		case err == unix.EINTR, err == unix.EAGAIN:
		case err == unix.EIO: // the terminal has hung up
			return 0, io.EOF
		case err != nil:
			return 0, &os.PathError{Op: "read", Path: r.f.Name(), Err: err}
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Stop makes Read return, now and from then on. It must be called only once.
func (r *Reader) Stop() { unix.Close(r.wake[1]) }

// Close releases the Reader's resources. Read must not be called any more.
func (r *Reader) Close() { unix.Close(r.wake[0]) }
