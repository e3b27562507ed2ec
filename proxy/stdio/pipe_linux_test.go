package stdio

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blockingPipe returns a pipe as a shell makes it; os.Pipe's do not block.
func blockingPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func flags(t *testing.T, f *os.File) int {
	t.Helper()
	n, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPipesStayAsTheyWere: whoever shares a pipe with us does not find it in
// another mode, and our ends are not what keeps it open.
func TestPipesStayAsTheyWere(t *testing.T) {
	stdin, ssh := blockingPipe(t)
	reader, stdout := blockingPipe(t)
	before := []int{flags(t, stdin), flags(t, stdout)}
	p := openStdio(stdin, stdout)
	if p == nil {
		t.Fatal("two pipes cannot be opened again")
	}
	sent := bytes.Repeat([]byte("more than a pipe holds"), 10000)
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(p, p)
		p.Close()
		stdout.Close()
		copied <- err
	}()
	go func() {
		ssh.Write(sent)
		ssh.Close()
	}()
	got, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came through, %v", len(got), len(sent), err)
	}
	if err := <-copied; err != nil {
		t.Error(err)
	}
	if n := flags(t, stdin); n != before[0] || n&unix.O_NONBLOCK != 0 {
		t.Errorf("stdin's flags are %#x, were %#x", n, before[0])
	}
}

func TestReaderThatHasGone(t *testing.T) {
	stdin, _ := blockingPipe(t)
	reader, stdout := blockingPipe(t)
	p := openStdio(stdin, stdout)
	defer p.Close()
	reader.Close()
	if _, err := p.Write([]byte("x")); !isGone(err) {
		t.Errorf("%v", err)
	}
}

// TestPipeFollowsTheRate: it is short until what is in it is soon read.
func TestPipeFollowsTheRate(t *testing.T) {
	stdin, ssh := blockingPipe(t)
	_, stdout := blockingPipe(t)
	p := openStdio(stdin, stdout)
	defer p.Close()
	size := func() int {
		n, err := unix.FcntlInt(stdin.Fd(), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	pass := func(pause time.Duration) { // as much as the rate is measured over
		buf := make([]byte, 4<<10)
		for n := 0; n < rateBytes; n += len(buf) {
			if _, err := ssh.Write(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(p, buf); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
		}
	}
	if n := size(); n != slowPipe {
		t.Errorf("%d bytes at first, not %d", n, slowPipe)
	}
	for i := 0; size() != fastPipe; i++ {
		if pass(0); i == 100 {
			t.Fatalf("%d bytes on a fast path", size())
		}
	}
	pass(time.Millisecond)
	pass(time.Millisecond)
	if n := size(); n != slowPipe {
		t.Errorf("%d bytes on a slow path", n)
	}
}

// TestOtherStdio: what is no pipe is used as it is.
func TestOtherStdio(t *testing.T) {
	stdin, stdout := blockingPipe(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for _, c := range []struct{ in, out *os.File }{{file, stdout}, {stdin, file}, {socket, stdout}, {stdin, socket}} {
		if p := openStdio(c.in, c.out); p != nil {
			t.Errorf("%s and %s count as pipes", c.in.Name(), c.out.Name())
			p.Close()
		}
	}
}
