//go:build !windows

package listen

import (
	"errors"
	"syscall"
)

const errAddressInUse = syscall.EADDRINUSE

// isNoFamily reports whether listening failed because this machine has no
// addresses of that family.
func isNoFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
