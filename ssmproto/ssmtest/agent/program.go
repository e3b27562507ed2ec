package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/shlex"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// ShellWait is the agent's wait before it reads a terminal for the first time.
const ShellWait = time.Second

// The agent's other waits around a program.
const (
	refuseWait = 2 * time.Second // before it reports that a command cannot be run
	errorWait  = time.Second     // before it sends any error as standard error
)

// program is a shell or a command that the agent runs for a session. It takes
// the place of the connection in a session for a port.
type program struct {
	a      *Agent
	cmd    *exec.Cmd
	tty    *os.File // the agent's side of a terminal, or nil
	stdout *os.File // pipes, or nil
	stderr *os.File
	joined *os.File      // the file of both outputs, or nil
	exited chan struct{} // closed when the program has exited and cmd.ProcessState is set
	once   sync.Once
	forget func() bool // stops the agent's end from ending it
}

// startProgram runs the session's program without blocking.
func (a *Agent) startProgram() {
	a.phase = dialing
	a.job.Service.Go(func() {
		p, err := a.newProgram()
		if err != nil {
			a.job.Service.Logf("%v", err)
			a.cannotStart(err)
			return
		}
		a.handOver(p)
	})
}

// agentError is an error in the agent's own words, even if they are unusual for
// Go.
type agentError string

func (e agentError) Error() string { return string(e) }

// startError means that the system refused to start a program, as opposed to
// the agent, which may refuse to try.
type startError struct{ error }

// cannotStart reports that the program cannot be started, and ends the session.
func (a *Agent) cannotStart(err error) {
	text := fmt.Sprintf("Unable to start command: %v\n", err)
	reason := errorReason + text
	var refused startError
	tried := errors.As(err, &refused) && a.job.SessionType == NonInteractiveSession
	if tried {
		text, reason = fmt.Sprintf("Error occurred starting the command: %v\n", err), ""
		if a.separates() {
			a.sendOutput(core.ExitCode, []byte("EXIT_CODE: 1"))
		}
	} else {
		a.sleep(refuseWait)
	}
	if a.job.SessionType == NonInteractiveSession {
		a.sleep(errorWait)
		a.sendOutput(core.StdErr, []byte(text))
	}
	if a.outbox.flushed(flushTime) {
		a.endWith(reason)
	}
}

// sleep sleeps as the agent does, unless Config.NoSleep is set.
func (a *Agent) sleep(d time.Duration) {
	if a.job.Config.NoSleep {
		return
	}
	select {
	case <-time.After(d):
	case <-a.ctx.Done():
	}
}

// separates reports whether the agent sends the command's outputs separately.
func (a *Agent) separates() bool {
	return a.job.Properties["separateOutputStream"] == "true" && !a.job.Config.NoSeparateOutput
}

// command returns the program to run.
func (a *Agent) command() (*exec.Cmd, error) {
	makeCommand := a.job.Command
	if makeCommand == nil {
		makeCommand = exec.Command
	}
	line := a.job.Properties["command"]
	var cmd *exec.Cmd
	switch {
	case strings.TrimSpace(line) == "":
		cmd = makeCommand("sh")
	case a.job.SessionType == NonInteractiveSession || strings.HasPrefix(a.job.NodeID, "ecs:"):
		words, err := shlex.Split(line)
		if err != nil {
			return nil, agentError(fmt.Sprintf("Failed to parse commands input: %v\n", err))
		}
		if len(words) == 0 {
			return nil, errors.New("no command in it") // the real agent crashes
		}
		cmd = makeCommand(words[0], words[1:]...)
	default:
		cmd = makeCommand("sh", "-c", line)
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(slices.Clip(cmd.Env), "TERM=xterm-256color")
	if !slices.ContainsFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "LANG=") && v != "LANG=" }) {
		cmd.Env = append(cmd.Env, "LANG=C.UTF-8")
	}
	return cmd, nil
}

// newProgram starts the program. It ends when the agent ends, at the latest.
func (a *Agent) newProgram() (*program, error) {
	cmd, err := a.command()
	if err != nil {
		return nil, err
	}
	p := &program{a: a, cmd: cmd, exited: make(chan struct{})}
	var theirs []*os.File
	switch {
	case a.job.SessionType != NonInteractiveSession:
		theirs, err = p.openTerminal()
	case a.separates():
		theirs, err = p.openPipes()
	default:
		err = p.openFile()
	}
	if err == nil {
		leadSession(cmd, p.tty != nil)
		if err = cmd.Start(); err != nil && p.tty != nil {
			err = agentError(fmt.Sprintf("Failed to start pty: %v\n", err))
		}
		if err != nil {
			err = startError{err}
		}
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		p.closeFiles()
		return nil, err
	}
	a.job.Service.Go(func() {
		cmd.Wait()
		close(p.exited)
	})
	p.forget = context.AfterFunc(a.ctx, p.end)
	return p, nil
}

func (p *program) openPipes() (theirs []*os.File, err error) {
	for _, pipe := range []struct {
		ours   **os.File
		theirs *io.Writer
	}{{&p.stdout, &p.cmd.Stdout}, {&p.stderr, &p.cmd.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		*pipe.ours, *pipe.theirs = r, w
		theirs = append(theirs, w)
	}
	return theirs, nil
}

func (p *program) openFile() (err error) {
	if p.joined, err = os.CreateTemp("", "ssmtest-output-*"); err != nil {
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = p.joined, p.joined
	return nil
}

// Write passes the client's input to the program.
func (p *program) Write(b []byte) (int, error) {
	if !p.a.running() {
		return 0, os.ErrClosed
	}
	if p.tty == nil { // the program has no input: only interrupts matter
		for _, c := range b {
			if interrupt(p.cmd.Process, c) {
				break
			}
		}
		return len(b), nil
	}
	n, err := p.tty.Write(b)
	p.a.up.Add(int64(n))
	return n, err
}

// Close ends the program and everything that it has started.
func (p *program) Close() error {
	p.forget()
	p.end()
	return nil
}

func (p *program) end() {
	p.once.Do(func() {
		killSession(p.cmd.Process)
		p.closeFiles()
	})
}

func (p *program) closeFiles() {
	for _, f := range []*os.File{p.tty, p.stdout, p.stderr, p.joined} {
		if f != nil {
			f.Close()
		}
	}
	if p.joined != nil {
		os.Remove(p.joined.Name())
	}
}

// pump sends the program's output until it has ended.
func (p *program) pump() {
	switch {
	case p.tty != nil:
		if profile := p.a.job.ShellProfile; profile != "" && p.a.job.SessionType == ShellSession {
			io.WriteString(p.tty, profile+"\n")
		}
		p.a.sleep(ShellWait)
		p.pumpPaced(p.tty)
	case p.joined != nil:
		if p.waitExited() {
			p.joined.Seek(0, io.SeekStart) // only the program has written to it
			p.pumpPaced(p.joined)
		}
	default:
		var stdout, stderr sync.WaitGroup
		stdout.Go(func() { p.pumpPipe(p.stdout, core.Output, p.a.job.Properties["stdoutSeparatorPrefix"]) })
		stderr.Go(func() { p.pumpPipe(p.stderr, core.StdErr, p.a.job.Properties["stderrSeparatorPrefix"]) })
		stdout.Wait()
		stderr.Wait()
		if p.waitExited() && !p.a.outbox.isPaused() {
			p.a.sendOutput(core.ExitCode, fmt.Appendf(nil, "EXIT_CODE: %d", p.cmd.ProcessState.ExitCode()))
		}
	}
}

// waitExited waits for the program to exit. It returns false if the agent has
// stopped.
func (p *program) waitExited() bool {
	<-p.exited // the agent's end leads to it, too
	return p.a.running()
}

// pumpPaced sends what it reads, one message at a time, and waits while the
// agent is paused.
func (p *program) pumpPaced(from *os.File) {
	size := p.a.job.Config.MessageSize
	if p.a.job.Config.NoSleep {
		size = max(size, noSleepChunk)
	}
	buf := make([]byte, size)
	var keep []byte
	for p.a.outbox.waitStarted() {
		n, err := from.Read(buf)
		if keep, err = p.pass(core.Output, append(keep, buf[:n]...), n, err); err != nil {
			return
		}
		p.a.sleep(Pace)
	}
}

// pumpPipe sends what it reads as fast as it arrives. If the agent is paused
// when it is about to read, it gives up, as the real agent does: the rest is
// lost, and a program with more output than a pipe holds blocks.
func (p *program) pumpPipe(from *os.File, t core.PayloadType, prefix string) {
	buf := make([]byte, p.a.job.Config.MessageSize-len(prefix))
	var keep []byte
	for lineStart := true; ; {
		if p.a.outbox.isPaused() {
			p.a.job.Service.Logf("paused: the pipe of payload type %d is given up", t)
			return
		}
		n, err := from.Read(buf)
		if n > 0 && lineStart {
			keep = append(keep, prefix...)
		}
		lineStart = n == 0 || buf[n-1] == '\n'
		if keep, err = p.pass(t, append(keep, buf[:n]...), n, err); err != nil {
			return
		}
	}
}

// pass sends b, the last n bytes of which were just read, and returns the bytes
// that are kept, and an error if there is no more.
func (p *program) pass(t core.PayloadType, b []byte, n int, err error) (keep []byte, _ error) {
	p.a.down.Add(int64(n))
	if !p.a.running() {
		return nil, os.ErrClosed
	}
	if n == 0 {
		return b, err
	}
	out, keep := passRunes(b)
	p.a.sendOutput(t, out)
	return slices.Clone(keep), err
}

// sendOutput sends output of a program, encrypted if the session is. It waits
// while the client does not read.
func (a *Agent) sendOutput(t core.PayloadType, data []byte) {
	const kept = 3 // bytes that passRunes may add to what was read
	for len(data) > 0 {
		n := min(a.job.Config.MessageSize+kept, len(data))
		payload := data[:n:n]
		if a.cipher != nil {
			payload = a.cipher.seal(payload)
		}
		a.outbox.sendWithin(t, payload, a.dataLimit())
		data = data[n:]
	}
}
