//go:build unix

package regular

import "golang.org/x/sys/unix"

// nonBlock keeps open from blocking. It has no effect on regular files.
const nonBlock = unix.O_NONBLOCK | unix.O_NOCTTY
