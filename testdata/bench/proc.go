package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// process is a child process with pipes, as ssh starts its ProxyCommand, whose
// CPU time and memory are measured.
type process struct {
	*exec.Cmd
	in     *os.File
	out    *os.File
	stderr bytes.Buffer // may be read once the process has ended
	ended  chan struct{}
	err    error
	peak   atomic.Int64 // bytes of resident memory, 0 if unknown
}

// spawn starts a child that does not outlive the run.
func (b *bench) spawn(env []string, name string, args ...string) (*process, error) {
	p := &process{Cmd: exec.CommandContext(b.ctx, name, args...), ended: make(chan struct{})}
	p.Env = env
	p.Stderr = &p.stderr
	p.WaitDelay = 5 * time.Second // for grandchildren that keep stderr open
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer stdout.Close()
	p.Stdin, p.Stdout, p.in, p.out = stdin, stdout, in, out
	if err := p.Start(); err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	go func() {
		p.err = p.Wait()
		close(p.ended)
	}()
	go p.watchMemory()
	return p, nil
}

// watchMemory records the peak while the process runs. getrusage would report
// it at the end, but on Linux a child's ru_maxrss starts at its parent's size:
// exec keeps the peak of the old image.
func (p *process) watchMemory() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if n := statusBytes(p.Process.Pid, "VmHWM:"); n > 0 {
			p.peak.Store(n)
		}
		select {
		case <-p.ended:
			return
		case <-tick.C:
		}
	}
}

// statusBytes returns a memory figure of a process, or 0 if there is none.
func statusBytes(pid int, field string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == field {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// finish waits for the child, which the caller has caused to end, and returns
// its error with its stderr.
func (p *process) finish(ctx context.Context) error {
	p.in.Close()
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
	case <-time.After(15 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not end", filepath.Base(p.Path))
	}
	p.out.Close()
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(p.Path), p.err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	return nil
}

// kill ends the child if it is still running. It may be called after finish.
func (p *process) kill() {
	p.in.Close()
	p.out.Close()
	p.Process.Kill()
	<-p.ended
}

// cpu returns the CPU time of a child that has ended.
func (p *process) cpu() time.Duration {
	return p.ProcessState.UserTime() + p.ProcessState.SystemTime()
}

// cpuSoFar returns the CPU time of a running child, all threads together, to a
// fraction of a millisecond, or 0 if the system does not report it.
func cpuSoFar(pid int) (sum time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if f := strings.Fields(string(text)); err == nil && len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// firstLine reads a line byte by byte, so that the rest stays in r.
func firstLine(r io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, one); err != nil {
			return string(line), err
		}
		if one[0] == '\n' {
			return strings.TrimRight(string(line), "\r"), nil
		}
		line = append(line, one[0])
	}
}
