package proxy

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is what ssh may have written before we read it, in bytes. A pipe
// holds 64 KiB otherwise, and bulk fills it: on a slow path a keystroke waits
// long behind that, in a queue that we cannot see.
const pipeSize = 16 << 10

// shortenPipe makes the queue in front of us short, if f is a pipe.
func shortenPipe(f *os.File) {
	unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, pipeSize) // fails if it is none, or is full
}
