package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
)

const (
	// killDelay is the delay between SIGTERM and SIGKILL.
	killDelay = 2 * time.Second

	// signalDelay is how long after the end of the context the signal that caused
	// it may arrive: os/signal delivers both at about the same time.
	signalDelay = 100 * time.Millisecond
)

// runCommand runs o.Command in env and returns its status. See Run for signals.
func runCommand(ctx context.Context, o Options, env []string) (status int, err error) {
	name := o.Command[0]
	path, err := lookPath(name, getenv(env, "PATH"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			return 127, fmt.Errorf("demo: %s: no such command", name)
		}
		var lookup *exec.Error // its text repeats the name
		if errors.As(err, &lookup) {
			err = lookup.Err
		}
		return 126, fmt.Errorf("demo: %s: cannot be run: %w", name, err)
	}

	// Catch signals before the start, so as not to miss a Ctrl-C in the
	// meantime. Caught signals, unlike ignored ones, are not inherited.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, endSignals...)
	defer signal.Stop(signals)

	cmd := exec.Command(path)
	cmd.Args = o.Command
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.Stdin, o.Stdout, o.Stderr
	// Limit the wait for writers that are not files, in case the command has
	// left a process behind that holds them open.
	cmd.WaitDelay = killDelay
	if ctx.Err() != nil {
		return 1, fmt.Errorf("demo: %s: not started: %w", name, context.Cause(ctx))
	}
	if err := cmd.Start(); err != nil {
		return 126, fmt.Errorf("demo: %s: cannot be run: %w", name, err)
	}
	defer lastly.Add(func(context.Context) { _ = cmd.Process.Kill() })()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = supervise(ctx, cmd.Process, ended, signals)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return 1, fmt.Errorf("demo: %s: %w", name, err)
	}
	return waitStatus(cmd.ProcessState), nil
}

// supervise waits for the process to end, and ends it when ctx does.
func supervise(ctx context.Context, p *os.Process, ended <-chan error, signals <-chan os.Signal) error {
	var (
		done        = ctx.Done()
		interactive = term.IsTerminal(int(os.Stdin.Fd()))
		interrupted = false // by Ctrl-C, which the command received too
		stopping    = false
		giveUp      <-chan time.Time // for the signal that caused the end of ctx
		kill        <-chan time.Time
	)
	stop := func() {
		if !stopping {
			stopping = true
			_ = terminate(p)
			kill = time.After(killDelay)
		}
	}
	for {
		select {
		case err := <-ended:
			return err
		case <-done:
			done = nil
			switch {
			case !interactive:
				stop()
			case !interrupted:
				giveUp = time.After(signalDelay)
			}
		case <-giveUp:
			stop()
		case s := <-signals:
			giveUp = nil
			if interactive && isTyped(s) {
				interrupted = true
			} else {
				stop()
			}
		case <-kill:
			_ = p.Kill()
		}
	}
}

// lookPath is exec.LookPath with path instead of the process's PATH. The error is
// fs.ErrPermission if the file exists but is not executable.
func lookPath(name, path string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) || strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	err := fs.ErrNotExist
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // as in exec.LookPath: what runs must not depend on the current directory
		}
		found, lookErr := exec.LookPath(filepath.Join(dir, name))
		if lookErr == nil {
			return found, nil
		}
		if errors.Is(lookErr, fs.ErrPermission) {
			err = lookErr
		}
	}
	return "", err
}

// getenv returns the last value of name in env, which is the effective one.
func getenv(env []string, name string) string {
	value := ""
	for _, v := range env {
		if n, after, ok := strings.Cut(v, "="); ok && n == name {
			value = after
		}
	}
	return value
}
