package link

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchers returns functions that wait for an event and return true, or false
// once ctx has ended. There is one, for a socket that reports changes of links,
// addresses and routes (route(4)), or none if the system refuses the socket.
func watchers(ctx context.Context) []func() bool {
	syscall.ForkLock.RLock() // or a child might inherit it
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil
	}
	f := os.NewFile(uintptr(fd), "") // in non-blocking mode: the runtime's poller waits
	context.AfterFunc(ctx, func() { f.Close() })
	var message [2048]byte
	return []func() bool{func() bool {
		for {
			n, err := f.Read(message[:])
			switch {
			case errors.Is(err, unix.ENOBUFS): // there were more than the socket holds
				return true
			case err != nil:
				return false
			case matters(message[:n]):
				return true
			}
		}
	}}
}

// matters reports whether a message of a route socket may mean a change of the
// network. Routes to single hosts do not: the system keeps one for each
// neighbour and for many of the hosts in use.
func matters(message []byte) bool {
	if len(message) < 12 {
		return false
	}
	switch message[3] { // rtm_type
	case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_IFINFO:
		return true
	case unix.RTM_ADD, unix.RTM_DELETE, unix.RTM_CHANGE:
		flags := binary.NativeEndian.Uint32(message[8:]) // rtm_flags
		return flags&unix.RTF_HOST == 0
	}
	return false
}
