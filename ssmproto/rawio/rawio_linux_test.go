package rawio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns two ends of a TCP connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func TestCopy(t *testing.T) {
	near, far := pair(t)
	in, out := New(far), New(near)
	if in == nil || out == nil {
		t.Fatal("a TCP connection cannot be used")
	}
	sent := make([]byte, 8<<20) // more than the kernel holds, so that both ends wait
	for i := range sent {
		sent[i] = byte(i * 7)
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := out.Write(sent)
		near.CloseWrite()
		wrote <- err
	}()
	got, err := io.ReadAll(in)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came, %v", len(got), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, out := New(r), New(w)
	if in == nil || out == nil {
		t.Fatal("a pipe cannot be used")
	}
	if _, err := out.Write([]byte("through a pipe")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got, err := io.ReadAll(in); string(got) != "through a pipe" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out := New(w)
	r.Close()
	if n, err := out.Write([]byte("x")); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("without a reader: %d, %v", n, err)
	}
	w.Close()
	if _, err := out.Write([]byte("x")); err == nil {
		t.Error("a closed pipe takes something")
	}
	near, _ := pair(t)
	in := New(near)
	near.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	near.SetReadDeadline(time.Time{})
	time.AfterFunc(10*time.Millisecond, func() { near.Close() })
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("while it is closed: %v", err)
	}
}

// TestBlockingDescriptor: one that may block is left to Go.
func TestBlockingDescriptor(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if New(f) != nil {
		t.Error("a file counts as non-blocking")
	}
}

// A long time stands for one that does not come.
const long = time.Minute

func TestGatherWaitsForSeveral(t *testing.T) {
	near, far := pair(t)
	in := New(near)
	defer in.Close()
	in.Gather(10, long)
	got := read(t, in)
	for range 9 {
		far.Write([]byte{1})
		select {
		case n := <-got:
			t.Fatalf("Read returned %d bytes", n)
		case <-time.After(2 * time.Millisecond):
		}
	}
	far.Write([]byte{1})
	if n := <-got; n != 10 {
		t.Errorf("Read returned %d bytes, not 10", n)
	}
}

// TestGatherGivesUp: when too few come Read returns those, and the next ones at
// once, until several are asked for again.
func TestGatherGivesUp(t *testing.T) {
	near, far := pair(t)
	in := New(near)
	defer in.Close()
	for range 3 {
		in.Gather(10, 20*time.Millisecond)
		if n := lowWater(t, near); n != 10 {
			t.Errorf("the low-water mark is %d, not 10", n)
		}
		got := read(t, in)
		far.Write([]byte("few"))
		if n := <-got; n != 3 || lowWater(t, near) != 1 {
			t.Errorf("Read returned %d bytes, not 3; the low-water mark is %d", n, lowWater(t, near))
		}
		far.Write([]byte{1})
		if n, err := in.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("then %d, %v", n, err)
		}
	}
}

func TestGatherIsSwitchedOff(t *testing.T) {
	near, far := pair(t)
	in := New(near)
	defer in.Close()
	in.Gather(10, long)
	if n := lowWater(t, near); n != 10 {
		t.Errorf("the low-water mark is %d, not 10", n)
	}
	in.Gather(0, 0)
	far.Write([]byte{1})
	if n, err := in.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// read starts a Read and returns once it waits.
func read(t *testing.T, f *File) <-chan int {
	t.Helper()
	got := make(chan int, 1)
	go func() {
		n, _ := f.Read(make([]byte, 100))
		got <- n
	}()
	waitFor(t, func() bool {
		var left unix.ItimerSpec
		err := unix.TimerfdGettime(int(f.gather.fd), &left)
		return err == nil && left.Value != unix.Timespec{}
	})
	return got
}

func TestGatherEndsWithTheConnection(t *testing.T) {
	near, far := pair(t)
	in := New(near)
	defer in.Close()
	in.Gather(10, long)
	got := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(in, make([]byte, 10))
		got <- err
	}()
	far.Write([]byte("few"))
	far.Close()
	select {
	case err := <-got:
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Read does not see the end")
	}
}

func lowWater(t *testing.T, c *net.TCPConn) (n int) {
	t.Helper()
	conn, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	conn.Control(func(fd uintptr) { n, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it never came")
		}
	}
}
