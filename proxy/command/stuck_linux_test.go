package command_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// A stuckPipe is what a program writes to that nobody reads, and which takes no
// more once it is filled: a write to it ends with the process only.
type stuckPipe struct{ read, write *os.File }

func newStuckPipe(t *testing.T) stuckPipe {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return stuckPipe{r, w}
}

// fill leaves no room, whoever wrote before.
func (p stuckPipe) fill(t *testing.T) {
	t.Helper()
	// Opened again, so that it does not wait here and does in the program.
	fd, err := unix.Open(fdName(p.write), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b := make([]byte, 4096)
	for n := len(b); n > 0; {
		if _, err := unix.Write(fd, b[:n]); errors.Is(err, unix.EAGAIN) {
			n /= 2 // down to the last byte
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// gone waits for the process to end, and returns how long that took and the
// signal that was its end, if it was one.
func gone(t *testing.T, cmd *exec.Cmd, ended <-chan struct{}, since time.Time) (took time.Duration, by syscall.Signal) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		cmd.Process.Signal(syscall.SIGQUIT)
		t.Fatal("still there")
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		by = ws.Signal()
	}
	return time.Since(since), by
}

// insist sends a signal again and again: two that come at once are one, and there
// is no telling when the first has been taken.
func insist(p *os.Process, sig syscall.Signal, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case <-time.After(20 * time.Millisecond):
			p.Signal(sig)
		}
	}
}

// How long an end takes at the most for which nothing but the clock is waited: 3 s
// after the first signal, a moment after the second. Machines are busy.
const (
	stuckTime   = 3 * time.Second
	lastTime    = 800 * time.Millisecond
	stuckMargin = 3 * time.Second
)

// TestSignalsEndWhatIsStuck: a process that writes where nobody reads does not
// look at its context.
func TestSignalsEndWhatIsStuck(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		for _, second := range []syscall.Signal{0, sig, syscall.SIGTERM} {
			t.Run(sig.String()+" and "+second.String(), func(t *testing.T) {
				t.Parallel()
				out := newStuckPipe(t)
				out.fill(t)
				cmd := exec.Command(rigtest.SSMPipe, "completion", "bash")
				cmd.Stdout = out.write
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				go func() { cmd.Wait(); close(ended) }()
				rigtest.WaitFor(t, "write", func() bool { return isWriting(cmd.Process.Pid) })
				since := time.Now()
				cmd.Process.Signal(sig)
				want, least, most := sig, stuckTime, stuckTime+stuckMargin
				if second != 0 {
					insist(cmd.Process, second, ended)
					want, least, most = second, 0, stuckMargin-time.Millisecond
				}
				took, by := gone(t, cmd, ended, since)
				if by != want || took < least || took > most {
					t.Errorf("ended by %v after %v: %v", by, took, cmd.ProcessState)
				}
			})
		}
	}
}

// TestCompleteEndsAtOnce: it has nothing to put in order, and so no handler.
func TestCompleteEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		out := newStuckPipe(t)
		out.fill(t)
		cmd := exec.Command(rigtest.SSMPipe, "complete", "fish", "ssmpipe", "")
		cmd.Stdout = out.write
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		rigtest.WaitFor(t, "write", func() bool { return isWriting(cmd.Process.Pid) })
		since := time.Now()
		cmd.Process.Signal(sig)
		if took, by := gone(t, cmd, ended, since); by != sig || took > stuckMargin-time.Millisecond {
			t.Errorf("ended by %v after %v: %v", by, took, cmd.ProcessState)
		}
	}
}

// TestStuckSessionIsEnded: also where what ends it in order is stuck itself, in
// the middle of what it says of it.
func TestStuckSessionIsEnded(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	errs := newStuckPipe(t)
	cmd := b.Command("-vv", rigtest.Node1)
	cmd.Stderr = errs.write
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	defer cmd.Process.Kill()
	b.Far(t)
	errs.fill(t)
	since := time.Now()
	cmd.Process.Signal(syscall.SIGTERM)
	took, by := gone(t, cmd, ended, since)
	if by != syscall.SIGTERM || took > stuckTime+lastTime+stuckMargin {
		t.Errorf("ended by %v after %v: %v", by, took, cmd.ProcessState)
	}
	rigtest.NoSessions(t, b)
}

// TestTwoSignalsAtOnce is how timeout(1) and a terminal's end send them.
func TestTwoSignalsAtOnce(t *testing.T) {
	t.Parallel()
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		b := rigtest.NewBare(t, ssmtest.Config{})
		p := b.Start(t, rigtest.Node1)
		b.Far(t)
		p.Process.Signal(syscall.SIGTERM)
		p.Process.Signal(second)
		<-p.Ended
		if n := b.ActiveSessions(); n != 0 {
			t.Errorf("%v: %d sessions linger in the account", second, n)
		}
	}
}

// TestStuckTerminalIsRestored: what a shell shows is not taken, and what it says
// of its end neither.
func TestStuckTerminalIsRestored(t *testing.T) {
	t.Parallel()
	for name, signals := range map[string][]syscall.Signal{
		"one":  {syscall.SIGTERM},
		"two":  {syscall.SIGTERM, syscall.SIGTERM},
		"both": {syscall.SIGHUP, syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rigtest.NewShells(t, awstest.Config{})
			errs := newStuckPipe(t)
			cmd := r.Command("shell", "-vv", rigtest.Node1)
			script := exec.Command("sh", "-c", `exec "$0" "$@" 2>"$ERRS"`)
			script.Args = append(script.Args, append([]string{rigtest.SSMPipe}, cmd.Args[1:]...)...)
			script.Env = append(r.Environ, "ERRS="+filepath.Join("/proc", "self", "fd", "3"))
			script.ExtraFiles = []*os.File{errs.write}
			s := rigtest.OnScreen(t, script)
			s.Sees(t, 0, "$ ")
			if s.Modes(t) == s.Before {
				t.Fatal("the terminal is not in raw mode")
			}
			errs.fill(t)
			since := time.Now()
			script.Process.Signal(signals[0])
			if len(signals) > 1 {
				insist(script.Process, signals[1], s.Ended)
			}
			took, _ := gone(t, script, s.Ended, since)
			if took > stuckTime+lastTime+stuckMargin {
				t.Errorf("took %v", took)
			}
			if s.Modes(t) != s.Before {
				t.Error("the terminal is not as it was")
			}
			rigtest.NoSessions(t, r)
		})
	}
}
