package listen

import (
	"errors"

	"golang.org/x/sys/windows"
)

const errAddressInUse = windows.WSAEADDRINUSE

// isNoFamily reports whether listening failed because this machine has no
// addresses of that family.
func isNoFamily(err error) bool {
	return errors.Is(err, windows.WSAEAFNOSUPPORT) || errors.Is(err, windows.WSAEADDRNOTAVAIL)
}
