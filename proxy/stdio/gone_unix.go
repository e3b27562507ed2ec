//go:build unix

package stdio

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// isGone reports whether a write failed because the reader has gone.
func isGone(err error) bool { return errors.Is(err, unix.EPIPE) }

// Watch returns a channel that is closed when f no longer has a reader, and a
// function that stops watching. Without Watch, a killed ssh would be noticed
// only when the far side sends something.
func Watch(f *os.File) (gone <-chan struct{}, stop func()) {
	ch := make(chan struct{})
	var wake [2]int
	if err := unix.Pipe(wake[:]); err != nil {
		return ch, func() {}
	}
	unix.CloseOnExec(wake[0])
	unix.CloseOnExec(wake[1])
	ended := make(chan struct{})
	fd := int32(f.Fd())
	go func() {
		defer close(ended)
		for {
			// No events are requested: errors and hang-ups are always reported.
			fds := []unix.PollFd{{Fd: fd}, {Fd: int32(wake[0]), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err == unix.EINTR {
				continue
			} else if err != nil || fds[1].Revents != 0 {
				return
			}
			if fds[0].Revents != 0 {
				if fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
					close(ch)
				}
				return
			}
		}
	}()
	return ch, func() {
		unix.Close(wake[1])
		<-ended
		unix.Close(wake[0])
	}
}
