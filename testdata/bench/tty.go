package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/creack/pty"
)

// tty is a session on a terminal.
type tty struct {
	*os.File
	cmd *exec.Cmd
}

// openTTY starts a command on a terminal and waits until its session prints
// "ready", possibly in response to input. Before that the local terminal would
// echo input.
func (b *bench) openTTY(env []string, tell string, args ...string) (*tty, error) {
	cmd := exec.CommandContext(b.ctx, args[0], args[1:]...)
	cmd.Env = env
	f, err := pty.Start(cmd)
	if err != nil {
		return nil, err
	}
	t := &tty{f, cmd}
	if _, err = io.WriteString(t, tell); err == nil {
		err = t.waitFor("ready\r\n")
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("%s: %w", filepath.Base(args[0]), err)
	}
	return t, nil
}

// waitFor reads output until it ends in text.
func (t *tty) waitFor(text string) error {
	t.SetReadDeadline(time.Now().Add(10 * time.Minute))
	var shown []byte
	buf := make([]byte, chunk)
	for {
		n, err := t.Read(buf)
		if err != nil {
			return fmt.Errorf("no %q, but %q: %w", text, shown, err)
		}
		shown = append(shown, buf[:n]...)
		if bytes.HasSuffix(shown, []byte(text)) {
			return nil
		}
		shown = shown[max(len(shown)-200, 0):]
	}
}

func (t *tty) close() {
	t.cmd.Process.Kill()
	t.File.Close()
	t.cmd.Wait()
}

// typeKeys types a key every 200 ms for a given time, or later if the previous
// echo is late, and returns how long each echo took.
func (b *bench) typeKeys(t *tty, long time.Duration) (took []time.Duration, err error) {
	buf := make([]byte, 256)
	for end := time.Now().Add(long); b.ctx.Err() == nil && time.Now().Before(end); {
		key := byte('a' + len(took)%26)
		begun := time.Now()
		if _, err := t.Write([]byte{key}); err != nil {
			return nil, err
		}
		t.SetReadDeadline(begun.Add(30 * time.Second))
		for seen := false; !seen; {
			k, err := t.Read(buf)
			if err != nil {
				return nil, fmt.Errorf("no echo after %v: %w", time.Since(begun), err)
			}
			seen = bytes.IndexByte(buf[:k], key) >= 0
		}
		took = append(took, time.Since(begun))
		b.pause(200*time.Millisecond - time.Since(begun))
	}
	return took, nil
}

// drain reads output for a given time.
func (t *tty) drain(long time.Duration) error {
	end := time.Now().Add(long)
	t.SetReadDeadline(end.Add(30 * time.Second))
	buf := make([]byte, chunk)
	for time.Now().Before(end) {
		if _, err := t.Read(buf); err != nil {
			return fmt.Errorf("no output: %w", err)
		}
	}
	return nil
}
