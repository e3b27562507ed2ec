//go:build unix

package demo

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// users knows whether an ssmpipe of the demo still runs: each holds a named
// pipe open, whose other end is here. ssh does not wait for its ProxyCommand,
// which at that time is about to end its session.
type users struct{ pipe *os.File }

func makeUsers(path string) (*users, error) {
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	pipe, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return &users{pipe}, err
}

// join is what a wrapper does before it becomes ssmpipe. Opened for both ways,
// a named pipe never waits for another end.
func (u *users) join() string { return "exec 9<>" + shellQuote(u.pipe.Name()) }

// wait returns when none is left, or after d.
func (u *users) wait(d time.Duration) {
	u.pipe.SetReadDeadline(time.Now().Add(d))
	u.pipe.Read(make([]byte, 1)) // nobody writes: it is the end, or the deadline
}

func (u *users) close() error { return u.pipe.Close() }
