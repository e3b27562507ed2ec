package ssmproto_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// inNetwork tells a test that it is in a network of its own.
const inNetwork = "SSMPROTO_TEST_NETWORK"

// ownNetwork runs the test again, in a process that has a network of its own,
// so that it may change addresses; there it returns true, and false here.
func ownNetwork(t *testing.T) bool {
	if os.Getenv(inNetwork) != "" {
		return true
	}
	again := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=1m")
	again.Env = append(os.Environ(), inNetwork+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if os.Getuid() == 0 { // some systems let nobody else have a namespace
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	out, err := again.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no network of its own: %v", err)
	case err != nil:
		t.Errorf("%v:\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	default:
		t.Logf("%s", out)
	}
	return false
}

// set asks the kernel for a change of an IPv4 interface (netdevice(7)).
func set(name string, request uint, value func(*unix.Ifreq)) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	value(r)
	return unix.IoctlIfreq(fd, request, r)
}

// TestAddressThatIsTakenAway: the real watch tells, and the link from there is
// replaced at once.
func TestAddressThatIsTakenAway(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	const alias = "lo:7"
	ip := net.IPv4(198, 51, 100, 77)
	if err := errors.Join(
		set("lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP) }),
		set(alias, unix.SIOCSIFADDR, func(r *unix.Ifreq) { r.SetInet4Addr(ip.To4()) }),
	); err != nil {
		t.Skip(err)
	}
	r := newRig(t, ssmtest.Config{TLS: true})
	var dials atomic.Int32
	cfg := &ssmproto.Config{Transport: r.Transport()}
	cfg.Transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		if dials.Add(1) == 1 {
			d.LocalAddr = &net.TCPAddr{IP: ip}
		}
		return d.DialContext(ctx, network, address)
	}
	near := r.dial(t, cfg)
	far := r.far(t)
	check(t, exchange(near, far, []byte("up"), []byte("down")))
	check(t, set(alias, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(0) })) // it goes
	within(t, "it", 1500*time.Millisecond, near, far)
	r.wantLinks(t, 2)
}
