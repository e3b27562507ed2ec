//go:build !unix

package stdio

import (
	"errors"
	"os"
	"syscall"
)

// isGone reports whether a write failed because the reader has gone: Windows'
// ERROR_BROKEN_PIPE and ERROR_NO_DATA.
func isGone(err error) bool {
	return errors.Is(err, syscall.Errno(109)) || errors.Is(err, syscall.Errno(232))
}

// Watch does nothing on these systems: a write is needed to notice that the
// reader has gone.
func Watch(*os.File) (gone <-chan struct{}, stop func()) { return nil, func() {} }
