package shell

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/quote"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// ExecOptions say what to run and which streams to use.
type ExecOptions struct {
	machine.Options
	Parameters map[string][]string // of the document, besides the command
	Command    []string            // and its arguments
	TTY        bool                // run it on a terminal, which is Terminal
	Terminal
}

// signalled is the status of a command that was ended by a signal, if its own
// status is not reported. ssh does the same.
const signalled = 255

// agentGivesUp is the notice after an outage while a command runs without a
// terminal. No data that was sent is lost, but agents have been seen to stop
// reading the command's output permanently when they find the channel closed.
const agentGivesUp = "%s: the connection was lost for a moment; %ss may then drop what the command prints, or stall it, so check what it has done"

// Exec runs a command on the target and returns its exit status. Without a TTY,
// standard output and standard error are kept separate, and In is not used. If
// the agent reports no status, Exec tells o.Notice and returns 1. Errors are
// written for the user. When ctx ends, Exec ends the session, and with it the
// command, and returns ctx's cause within 2 s.
func Exec(ctx context.Context, o ExecOptions) (status int, err error) {
	o.Fill()
	o.Use = machine.UseCommand
	command, err := quote.Command(o.Command)
	if err != nil {
		return 0, err
	}
	if o.Alone {
		stdio.TuneMemory()
	}
	var separate atomic.Bool // the agent keeps the outputs apart
	var interrupted sync.Once
	o.Resumed = func() {
		if separate.Load() {
			interrupted.Do(func() { o.Notice(safetext.Printable(fmt.Sprintf(agentGivesUp, o.Target, o.Driver.Words().Agent))) })
		}
	}
	conn, err := o.OpenShell(ctx, driver.ShellRequest{Command: command, Terminal: o.TTY, Parameters: o.Parameters})
	if err != nil {
		return 0, o.Explain(err)
	}
	separate.Store(!o.TTY && !conn.NoStatus)
	if o.Alone {
		stdio.ReleaseStart()
	}
	var failed StartFailure
	if o.TTY {
		err = Interact(ctx, &o.Options, conn, o.Terminal)
	} else {
		err = Collect(ctx, &o.Options, conn, o.Out, io.MultiWriter(&failed, o.Err))
	}
	conn.Close() // session reports errors
	if err != nil {
		return 0, o.Explain(err)
	}
	status, told := conn.ExitStatus()
	switch {
	case told && status >= 0:
		return status & 0xff, nil
	case told:
		return signalled, nil
	case o.TTY || conn.NoStatus:
		return 0, nil // the status is never reported
	case failed.Is():
		return 1, nil // the agent has reported it
	}
	o.Notice(safetext.Printable(o.Target + ": the agent did not report the command's exit status: it is too old, or the document does not ask for it"))
	return 1, nil
}

// Collect copies the command's output to out and errs until the command ends.
func Collect(ctx context.Context, o *machine.Options, conn stream.Shell, out *os.File, errs io.Writer) error {
	if text := conn.Message(); text != "" { // stderr belongs to the command
		o.Log.Info("the agent says", "text", safetext.Printable(text))
	}
	gone, unwatch := stdio.Watch(out)
	defer unwatch()
	ended := make(chan error, 1)
	go func() { ended <- copyParts(conn, stdio.NewOutput(out), stdio.NewOutput(errs)) }()
	var err error
	select {
	case err = <-ended:
		return err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-gone:
		err = stdio.ErrGone
	}
	conn.SetReadDeadline(time.Unix(1, 0))
	select {
	case <-ended:
	case <-time.After(endGrace): // blocked by its reader; it ends with the process
	}
	return err
}

// copyParts copies output until the command ends.
func copyParts(conn stream.Shell, out, errs io.Writer) error {
	buf := make([]byte, 32<<10)
	for {
		n, isErr, err := conn.ReadPart(buf)
		to := out
		if isErr {
			to = errs
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// StartFailure detects the agent's message that it could not start the command.
type StartFailure struct{ head []byte }

// startFailures are the beginnings of that message.
var startFailures = []string{"Unable to start command: ", "Error occurred starting the command: "}

func (f *StartFailure) Write(p []byte) (int, error) {
	const enough = 64
	f.head = append(f.head, p[:min(len(p), max(enough-len(f.head), 0))]...)
	return len(p), nil
}

func (f *StartFailure) Is() bool {
	for _, text := range startFailures {
		if strings.HasPrefix(string(f.head), text) {
			return true
		}
	}
	return false
}
