package rawio

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gather makes a reader wait until several bytes have arrived, or for a time.
// The timer is the kernel's, because a timer of Go's would cost as many
// wake-ups as are saved.
type gather struct {
	want  int // bytes; 0: any
	d     time.Duration
	timer *os.File // nil until needed
	fd    uintptr  // of timer
	done  chan struct{}

	expired atomic.Bool // set by the timer: any number of bytes will do
}

// Gather makes Read wait, when it finds nothing, until the socket has n bytes
// or d has passed. Once d has passed Read returns any data, as it does if n is
// 0, until Gather is called again. Only the goroutine that reads may call it;
// after the first call of Gather, Close must be called in the end.
func (f *File) Gather(n int, d time.Duration) {
	g := &f.gather
	g.look()
	if n == g.want {
		return
	}
	if g.timer == nil && !g.start(f) {
		return
	}
	g.want, g.d = n, d
	if n == 0 {
		g.arm(0)
	}
	f.setLowWater(max(n, 1))
}

// Close releases what Gather has allocated. It does not close the descriptor.
func (f *File) Close() {
	if f.gather.timer != nil {
		f.gather.timer.Close()
		<-f.gather.done
	}
}

func (g *gather) start(f *File) bool {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return false
	}
	g.fd, g.timer, g.done = uintptr(fd), os.NewFile(uintptr(fd), "timerfd"), make(chan struct{})
	timer := New(g.timer)
	go func() {
		defer close(g.done)
		var ticks [8]byte
		for {
			if _, err := timer.Read(ticks[:]); err != nil {
				return
			}
			g.expired.Store(true)
			f.setLowWater(1) // makes the kernel check again and wake the reader
		}
	}()
	return true
}

// look checks whether the timer has expired, and stops gathering if so.
func (g *gather) look() {
	if g.want > 0 && g.expired.Load() {
		g.expired.Store(false)
		g.want = 0
	}
}

// waiting starts the timer, as the reader is about to wait.
func (g *gather) waiting() {
	if g.want > 0 {
		g.arm(g.d)
	}
}

func (g *gather) arm(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, g.fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

func (f *File) setLowWater(n int) {
	f.conn.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n) // a hint
	})
}
