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
	// killDelay is between SIGTERM and SIGKILL.
	killDelay = 2 * time.Second

	// signalDelay is how much later than the end of the context the signal
	// behind it may reach us: both come of one delivery by os/signal.
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
		var lookup *exec.Error // says the name once more
		if errors.As(err, &lookup) {
			err = lookup.Err
		}
		return 126, fmt.Errorf("demo: %s: cannot be run: %w", name, err)
	}

	// Caught before the start, so that Ctrl-C in the meantime counts. A
	// caught signal, unlike an ignored one, is not handed down.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, endSignals...)
	defer signal.Stop(signals)

	cmd := exec.Command(path)
	cmd.Args = o.Command
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.Stdin, o.Stdout, o.Stderr
	// Bounds the wait for writers that are no files, when the command has
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

// supervise waits for the process to end, and makes it end when ctx does.
func supervise(ctx context.Context, p *os.Process, ended <-chan error, signals <-chan os.Signal) error {
	var (
		done        = ctx.Done()
		interactive = term.IsTerminal(int(os.Stdin.Fd()))
		interrupted = false // by Ctrl-C, which the command got as well
		stopping    = false
		giveUp      <-chan time.Time // for the signal behind the end of ctx
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

// lookPath is exec.LookPath for another PATH than the process's own. The error
// is fs.ErrPermission if there is such a file but it cannot be run.
func lookPath(name, path string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) || strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	err := fs.ErrNotExist
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // as exec.LookPath: what runs must not depend on where
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

// getenv is the last value of name in env, which is the one that counts.
func getenv(env []string, name string) string {
	value := ""
	for _, v := range env {
		if n, after, ok := strings.Cut(v, "="); ok && n == name {
			value = after
		}
	}
	return value
}
