//go:build unix

package demo

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// users tracks whether an ssmpipe of the demo is still running: each holds a named
// pipe open, whose other end is here. ssh does not wait for its ProxyCommand, which
// may still be ending its session.
type users struct{ pipe *os.File }

func makeUsers(path string) (*users, error) {
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	pipe, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return &users{pipe}, err
}

// join returns the shell command that a wrapper runs before it becomes ssmpipe.
// Opening a named pipe for reading and writing never blocks.
func (u *users) join() string { return "exec 9<>" + shellQuote(u.pipe.Name()) }

// wait returns when none is left, or after d.
func (u *users) wait(d time.Duration) {
	u.pipe.SetReadDeadline(time.Now().Add(d))
	u.pipe.Read(make([]byte, 1)) // nothing is written: this returns at the end or the deadline
}

func (u *users) close() error { return u.pipe.Close() }
