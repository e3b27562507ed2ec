package demo

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// hangupGrace is how long a process may take to end after SIGHUP, once its client
// has gone, before it is killed.
const hangupGrace = time.Second

// A process is a command that runs for a session, with the processes that it
// starts.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	stderr io.ReadCloser // nil with a terminal
	tty    *os.File      // the terminal's master side, or nil
	done   chan struct{} // closed when the command has ended
}

// startProcess starts cmd on pipes, or on a terminal when pty is not nil.
func startProcess(cmd *exec.Cmd, pty *ptyRequest) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	var theirs []*os.File
	var err error
	if pty != nil {
		theirs, err = p.openPty(pty)
	} else {
		theirs, err = p.openPipes()
	}
	if err == nil {
		setSession(cmd, pty != nil)
		err = cmd.Start()
	}
	for _, f := range theirs {
		f.Close() // only the command may hold these, so that its end is seen
	}
	if err != nil {
		p.closeFiles()
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		// exec.Cmd copies no files here, so this waits only for the
		// command. ProcessState has the result.
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// openPipes connects stdin, stdout and stderr to separate pipes and returns the
// command's ends. exec.Cmd would close its own pipes when the command ends, and
// lose unread output.
func (p *process) openPipes() (theirs []*os.File, err error) {
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		switch i {
		case 0:
			p.stdin, p.cmd.Stdin, theirs = w, r, append(theirs, r)
		case 1:
			p.stdout, p.cmd.Stdout, theirs = r, w, append(theirs, w)
		case 2:
			p.stderr, p.cmd.Stderr, theirs = r, w, append(theirs, w)
		}
	}
	return theirs, nil
}

// end makes sure that nothing of the process is left. It sends a hang-up, which a
// shell passes on to its jobs, and soon after kills the whole group.
func (p *process) end() {
	p.hangup()
	select {
	case <-p.done:
	case <-time.After(hangupGrace):
	}
	p.kill()
	p.closeFiles()
	<-p.done
}

func (p *process) closeFiles() {
	for _, f := range []io.Closer{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}
