//go:build !unix

package stdio

import (
	"errors"
	"os"
	"syscall"
)

// isGone says whether a write failed because nobody reads any more: Windows'
// ERROR_BROKEN_PIPE and ERROR_NO_DATA.
func isGone(err error) bool {
	return errors.Is(err, syscall.Errno(109)) || errors.Is(err, syscall.Errno(232))
}

// Watch watches nothing here: that the reader has gone is noticed when something
// is written.
func Watch(*os.File) (gone <-chan struct{}, stop func()) { return nil, func() {} }
