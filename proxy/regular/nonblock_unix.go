//go:build unix

package regular

import "golang.org/x/sys/unix"

// nonBlock keeps an open from waiting. Regular files do not know it.
const nonBlock = unix.O_NONBLOCK | unix.O_NOCTTY
