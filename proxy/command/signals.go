package command

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
)

// A signal that asks the process to end cancels its context, which leads to an
// orderly end of streams, sessions and the terminal. Not all code watches its
// context, though. So a second signal ends the process regardless, and so does the
// first after a time limit. Before that, the functions registered with package
// lastly get a moment to restore the terminal and end sessions. The process then
// ends by the signal, as if the signal had never been caught.

const (
	// endTime is the time limit after the first signal. demoTime is the limit for
	// the demo, whose command and other users also need time to end.
	endTime  = 3 * time.Second
	demoTime = 12 * time.Second

	// lastTime limits the functions of package lastly: enough for a call to AWS.
	lastTime = 800 * time.Millisecond
)

// caught returns the signals to catch for a command line, and how long the process
// may go on after one.
func caught(args []string, plugin bool) (fatal []os.Signal, limit time.Duration) {
	limit = endTime
	if !plugin && len(args) > 1 {
		switch args[1] {
		case "complete":
			return nil, 0 // has nothing to clean up
		case "demo":
			limit = demoTime
		}
	}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		// Ignored signals, as under nohup, stay ignored. But the AWS CLI ignores
		// Ctrl-C so that its plugin can handle it.
		if !signal.Ignored(s) || plugin && s == os.Interrupt {
			fatal = append(fatal, s)
		}
	}
	return fatal, limit
}

// withSignals returns a context that ends with the first signal of fatal, after
// which the process may go on for limit. If forOthers is set, interrupts are meant
// for another program and only end the context.
func withSignals(fatal []os.Signal, limit time.Duration, forOthers bool) context.Context {
	if len(fatal) == 0 { // Notify would catch all signals
		return context.Background()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, fatal...)
	go func() {
		var first os.Signal
		var over <-chan time.Time
		for {
			select {
			case s := <-signals:
				cancel(fmt.Errorf("%v", s))
				switch {
				case forOthers && s == os.Interrupt:
				case first != nil:
					endBy(s)
				default:
					first, over = s, time.After(limit)
				}
			case <-over:
				lastly.Add(func(context.Context) {
					say(fmt.Sprintf("%v: could not end everything within %v", first, limit))
				})
				endBy(first)
			}
		}
	}()
	return ctx
}

// endBy runs the functions of package lastly and ends this process by a signal.
func endBy(s os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	lastly.Run(ctx)
	dieBy(s)
	os.Exit(statusSignal(s))
}

// dieBy raises s as if it had not been caught. It returns if that does not end the
// process: on Windows, and if s was ignored from the start.
func dieBy(s os.Signal) {
	signal.Reset(s)
	if p, err := os.FindProcess(os.Getpid()); err == nil && p.Signal(s) == nil {
		time.Sleep(time.Second)
	}
}

// statusSignal returns the status that shells give a program ended by a signal.
func statusSignal(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return statusFailed
}

// forOthers reports whether an interrupt is meant for the command that the demo
// runs, which may handle it in any way.
func forOthers(args []string) bool {
	return len(args) > 2 && args[1] == "demo" && term.IsTerminal(int(os.Stdin.Fd()))
}
