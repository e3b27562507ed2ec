//go:build unix

package terminal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
)

// The tests' programs run in this binary, on terminals of their own.
var programs = map[string]func(){
	"panic": func() {
		raw, _ := MakeRaw(os.Stdin, os.Stdout)
		fmt.Print("raw\r\n")
		bufio.NewReader(os.Stdin).ReadByte()
		go raw.Protect(func() { panic("as it happens") })
		select {}
	},
	"twice": func() {
		raw, _ := MakeRaw(os.Stdin, os.Stdout)
		raw.Again()
		fmt.Print("raw\r\n")
		bufio.NewReader(os.Stdin).ReadByte()
		raw.Restore()
		raw.Restore()
	},
	"lastly": func() {
		raw, _ := MakeRaw(os.Stdin, os.Stdout)
		raw.Restore()
		raw.Again()
		fmt.Print("raw\r\n")
		bufio.NewReader(os.Stdin).ReadByte()
		lastly.Run(context.Background())
		os.Exit(0)
	},
	"events": func() {
		raw, _ := MakeRaw(os.Stdin, os.Stdout)
		w := NewWatch(os.Stdin)
		fmt.Print("raw\r\n")
		for e := range w.Events {
			switch e {
			case Resized:
				cols, rows, _ := Size(os.Stdin)
				fmt.Printf("%d %d\r\n", cols, rows)
			case Suspended:
				raw.Restore()
				w.Suspend()
				raw.Again()
				fmt.Print("back\r\n")
			case Continued:
				fmt.Print("continued\r\n")
			case Quit:
				w.Stop()
				raw.Restore()
				fmt.Print("quit\r\n")
				return
			}
		}
	},
}

func TestMain(m *testing.M) {
	if program := programs[os.Getenv("TERMINAL_TEST_PROGRAM")]; program != nil {
		program()
		return
	}
	os.Exit(m.Run())
}

// A run is one of the programs on a terminal.
type run struct {
	*os.File
	cmd    *exec.Cmd
	lines  *bufio.Reader
	before *term.State
}

func start(t *testing.T, program string) *run {
	t.Helper()
	r := &run{cmd: exec.Command(os.Args[0])}
	r.cmd.Env = append(os.Environ(), "TERMINAL_TEST_PROGRAM="+program)
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	r.File, r.lines = ours, bufio.NewReader(ours)
	if r.before, err = term.GetState(int(ours.Fd())); err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = theirs, theirs, theirs
	r.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		theirs.Close() // until then the terminal keeps its modes
		ours.Close()
	})
	r.expect(t, "raw")
	if r.restored(t) {
		t.Fatal("the terminal is not in raw mode")
	}
	return r
}

// expect reads up to a line.
func (r *run) expect(t *testing.T, want string) {
	t.Helper()
	for {
		line, err := r.lines.ReadString('\n')
		if strings.TrimRight(line, "\r\n") == want {
			return
		}
		if err != nil {
			t.Fatalf("%q, %v before %q", line, err, want)
		}
	}
}

func (r *run) restored(t *testing.T) bool {
	t.Helper()
	now, err := term.GetState(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *now == *r.before
}

func TestPanicRestores(t *testing.T) {
	t.Parallel()
	r := start(t, "panic")
	io.WriteString(r, "x")
	if r.cmd.Wait(); r.cmd.ProcessState.ExitCode() != 2 || !r.restored(t) {
		t.Errorf("%v, restored: %v", r.cmd.ProcessState, r.restored(t))
	}
}

// TestLastlyRestores: a process that is ended by others.
func TestLastlyRestores(t *testing.T) {
	t.Parallel()
	r := start(t, "lastly")
	io.WriteString(r, "x")
	if err := r.cmd.Wait(); err != nil || !r.restored(t) {
		t.Errorf("%v, restored: %v", err, r.restored(t))
	}
}

// TestRawTwice: what is restored is what was before the first time.
func TestRawTwice(t *testing.T) {
	t.Parallel()
	r := start(t, "twice")
	io.WriteString(r, "x")
	if err := r.cmd.Wait(); err != nil || !r.restored(t) {
		t.Errorf("%v, restored: %v", err, r.restored(t))
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	r := start(t, "events")
	if err := pty.Setsize(r.File, &pty.Winsize{Cols: 111, Rows: 44}); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "111 44")
	r.cmd.Process.Signal(unix.SIGCONT)
	r.expect(t, "continued")
	r.cmd.Process.Signal(unix.SIGQUIT)
	r.expect(t, "quit")
	if err := r.cmd.Wait(); err != nil || !r.restored(t) {
		t.Errorf("%v, restored: %v", err, r.restored(t))
	}
}

// TestSuspend stops a program as a shell with jobs does, which has the terminal
// as it was meanwhile.
func TestSuspend(t *testing.T) {
	t.Parallel()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	before, _ := term.GetState(int(ours.Fd()))
	shell := exec.Command("bash", "--norc", "-mc", `"$0"; stty -g; echo stopped; read go; fg; echo ended`, os.Args[0])
	shell.Env = append(os.Environ(), "TERMINAL_TEST_PROGRAM=events")
	shell.Stdin, shell.Stdout, shell.Stderr = theirs, theirs, theirs
	shell.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Skip(err)
	}
	defer theirs.Close()
	defer shell.Wait()
	defer shell.Process.Kill()
	r := &run{File: ours, lines: bufio.NewReader(ours), cmd: shell, before: before}
	r.expect(t, "raw")
	group, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPGRP)
	if err != nil {
		t.Fatal(err)
	}
	unix.Kill(group, unix.SIGTSTP)
	r.expect(t, "stopped")
	if !r.restored(t) {
		t.Error("the shell does not have the terminal as it was")
	}
	io.WriteString(r, "\n")
	r.expect(t, "back")
	if r.restored(t) {
		t.Error("the terminal is not in raw mode again")
	}
	unix.Kill(group, unix.SIGQUIT)
	r.expect(t, "quit")
	r.expect(t, "ended")
	if !r.restored(t) {
		t.Error("the terminal is not as it was")
	}
}

// TestReaderStops: also while it waits, and for good.
func TestReaderStops(t *testing.T) {
	t.Parallel()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := NewReader(in)
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer)
	go func() {
		for range 4 {
			b := make([]byte, 8)
			n, err := r.Read(b)
			answers <- answer{string(b[:n]), err}
		}
	}()
	want := func(text string, err error) {
		t.Helper()
		select {
		case a := <-answers:
			if a.text != text || a.err != err {
				t.Errorf("%q, %v", a.text, a.err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no answer")
		}
	}
	io.WriteString(out, "hello")
	want("hello", nil)
	io.WriteString(out, "again")
	want("again", nil)
	r.Stop()
	want("", os.ErrClosed)
	out.Close()
	want("", os.ErrClosed)
	r.Close()

	end := NewReader(in)
	defer end.Close()
	if n, err := end.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	end.Stop()
}
