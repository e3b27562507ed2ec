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

// A signal that asks the process to end ends its context, and all goes on from
// there in order: streams, sessions, the terminal. Not everything looks at a
// context, though. So a second signal ends the process whatever it does, and so
// does the first once its time is over. Before that, what others have asked for
// in package lastly gets a moment: the terminal becomes what it was, sessions are
// ended. The process then ends by the signal, as if that had never been caught.

const (
	// endTime is how long that may take after the first signal, and demoTime is the
	// demo's: its command gets time to end, and so do those that use it.
	endTime  = 3 * time.Second
	demoTime = 12 * time.Second

	// lastTime bounds what package lastly does: no more than a call to AWS takes.
	lastTime = 800 * time.Millisecond
)

// caught returns the signals that a command line has caught, and how long the
// process may go on after one.
func caught(args []string, plugin bool) (fatal []os.Signal, limit time.Duration) {
	limit = endTime
	if !plugin && len(args) > 1 {
		switch args[1] {
		case "complete":
			return nil, 0 // has nothing to put in order
		case "demo":
			limit = demoTime
		}
	}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		// What is ignored, as nohup has it, stays so; but the AWS CLI ignores
		// Ctrl-C itself so that its plugin can take it.
		if !signal.Ignored(s) || plugin && s == os.Interrupt {
			fatal = append(fatal, s)
		}
	}
	return fatal, limit
}

// withSignals returns a context that ends with the first signal of fatal, after
// which the process may go on for limit. If interrupts are typed for somebody else,
// they end nothing but the context.
func withSignals(fatal []os.Signal, limit time.Duration, forOthers bool) context.Context {
	if len(fatal) == 0 { // Notify would take them all then
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
					say(fmt.Sprintf("%v: something did not end by itself within %v", first, limit))
				})
				endBy(first)
			}
		}
	}()
	return ctx
}

// endBy ends this process by a signal, after what must be done lastly.
func endBy(s os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	lastly.Run(ctx)
	dieBy(s)
	os.Exit(statusSignal(s))
}

// dieBy raises s as if it had not been caught. It returns if that is no end: on
// Windows, and where s was ignored from the start.
func dieBy(s os.Signal) {
	signal.Reset(s)
	if p, err := os.FindProcess(os.Getpid()); err == nil && p.Signal(s) == nil {
		time.Sleep(time.Second)
	}
}

// statusSignal is what shells make of a program that a signal has ended.
func statusSignal(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return statusFailed
}

// forOthers says whether an interrupt is what somebody has typed for the command
// that the demo runs, which makes of it what it likes.
func forOthers(args []string) bool {
	return len(args) > 2 && args[1] == "demo" && term.IsTerminal(int(os.Stdin.Fd()))
}
