package link

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// watchers returns functions that wait for an event and return true, or false
// once ctx has ended. It leaves out those that the system refuses, as in
// containers and sandboxes.
func watchers(ctx context.Context) (wait []func() bool) {
	for _, open := range []func() (fd int, err error){routeSocket, clockTimer} {
		fd, err := open()
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), "") // in non-blocking mode: the runtime's poller waits
		context.AfterFunc(ctx, func() { f.Close() })
		var event [64]byte // the contents do not matter, so they need not fit
		wait = append(wait, func() bool {
			_, err := f.Read(event[:])
			// ENOBUFS: there were more events than the socket holds.
			return err == nil || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ECANCELED)
		})
	}
	return wait
}

// routeSocket returns a netlink socket that reports changes of links, addresses
// and routes (rtnetlink(7)).
func routeSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK,
		Groups: unix.RTMGRP_LINK |
			unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE |
			unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE,
	})
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// clockTimer returns a timer that never expires, but whose read fails with
// ECANCELED when the wall clock jumps, as it does when the machine wakes up
// (timerfd_create(2)).
func clockTimer() (int, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	var never unix.ItimerSpec
	never.Value.Sec = 1<<31 - 1 // in 2038, the last second for 32-bit systems; after that there is one false alarm
	err = unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil)
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}
