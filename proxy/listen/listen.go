package listen

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// Open listens on an address, or on a path if network is unix. For localhost it
// listens on both address families, where available. If it returns an error it
// may still return a socket: the one for the other family may be in use by
// another process.
func Open(network, address string) ([]net.Listener, error) {
	if network == "unix" {
		l, err := Unix(address)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for tries := 1; ; tries++ {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		list := []net.Listener{l}
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok || !strings.EqualFold(host, "localhost") {
			return list, nil
		}
		other := *addr
		if other.IP = net.IPv6loopback; addr.IP.To4() == nil {
			other.IP = net.IPv4(127, 0, 0, 1)
		}
		second, err := net.ListenTCP("tcp", &other)
		switch {
		case err == nil:
			return append(list, second), nil
		case isNoFamily(err):
			return list, nil
		case port == "0" && errors.Is(err, errAddressInUse) && tries < 20:
			l.Close() // another port may be free in both families
		default:
			return list, fmt.Errorf("%s: %w", &other, ShortOpError(err))
		}
	}
}

// Unix listens on a socket that only this user may connect to. It replaces a
// socket left over from a process that no longer exists.
func Unix(path string) (net.Listener, error) {
	old := syscallUmask(0o177)
	l, err := net.Listen("unix", path)
	syscallUmask(old)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	if c, dialErr := net.Dial("unix", path); dialErr == nil {
		c.Close()
		return nil, err
	} else if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if info, statErr := os.Lstat(path); statErr != nil || info.Mode().Type() != os.ModeSocket {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	old = syscallUmask(0o177)
	defer syscallUmask(old)
	return net.Listen("unix", path)
}

// ShortOpError removes from a net.OpError the parts that its caller reports
// anyway.
func ShortOpError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return err
}
