package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

const mb = 1e6

// transfer measures bulk transfers with the real binary.
func (b *bench) transfer() error {
	if err := b.transferPipes(); err != nil {
		return err
	}
	if b.ctx.Err() == nil {
		if err := b.transferSSH(); err != nil {
			note("ssh: %v", err)
			if !errors.Is(err, errSkip) {
				return err
			}
		}
	}
	return nil
}

// result is the result of one transfer.
type result struct {
	start  time.Duration // to the far end's first line
	rate   float64       // MB/s
	cpu    float64       // s per 100 MB
	peak   float64       // MiB
	growth float64       // MiB after the first 64 MiB
}

// transferPipes runs `ssmpipe proxy`, and netcat, with pipes between this
// process and a far end that is also this process.
func (b *bench) transferPipes() error {
	far, err := newFarEnd()
	if err != nil {
		return err
	}
	defer far.Close()
	fast, err := b.startService(serviceConfig{Target: far.addr})
	if err != nil {
		return err
	}
	defer fast.kill()
	real, err := b.startService(serviceConfig{Target: far.addr, Sleep: true})
	if err != nil {
		return err
	}
	defer real.kill()
	ssmpipe := func(s *service) func() (*process, error) {
		return func() (*process, error) { return b.spawn(s.env, b.ssmpipe, proxyArgs...) }
	}
	netcat := func() (*process, error) { return b.spawn(nil, b.self, "role-netcat", far.addr) }

	type transfer struct {
		name   string
		up     bool
		size   int64
		client func() (*process, error)
		runs   int
	}
	const up, down = true, false
	runs := pick(b, 1, 3)
	slow := int64(pick(b, 4, 16)) << 20
	list := []transfer{
		{"ssmpipe, up", up, b.size, ssmpipe(fast), runs},
		{"plain TCP, up", up, b.size, netcat, runs},
		{"ssmpipe, down", down, b.size, ssmpipe(fast), runs},
		{"plain TCP, down", down, b.size, netcat, runs},
		{"ssmpipe, down, the agent's sleep on", down, slow, ssmpipe(real), 1},
	}
	if b.long {
		list = append(list,
			transfer{"ssmpipe, up, 2 GiB", up, 2 << 30, ssmpipe(fast), 1},
			transfer{"ssmpipe, down, 2 GiB", down, 2 << 30, ssmpipe(fast), 1})
	}
	newTable("Transfer through pipes, over TLS", "", "MiB", "MB/s", "client CPU s per 100 MB", "peak RSS MiB", "growth after 64 MiB")
	for _, t := range list {
		progress("%s, %d MiB", t.name, t.size>>20)
		var rates, cpus, peaks, growths []float64
		for range t.runs {
			r, err := b.pipeOnce(b.ctx, far, t.client, t.up, t.size)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			rates, cpus = append(rates, r.rate), append(cpus, r.cpu)
			peaks, growths = append(peaks, r.peak), append(growths, r.growth)
		}
		tableRow(t.name, t.size>>20, middle(rates), middle(cpus), middle(peaks), middle(growths))
	}
	note("Medians of %d. The clock runs from the first byte written to the last received; all bytes are compared. CPU is the client process's, user and system, in that time. RSS is VmHWM. Plain TCP is a netcat in Go, for which the kernel does the copying.", runs)
	return nil
}

// pipeOnce connects through a client and transfers size bytes. If the client
// ends with an error, it returns that with the result.
func (b *bench) pipeOnce(ctx context.Context, far *farEnd, client func() (*process, error), up bool, size int64) (r result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	spawned := time.Now()
	p, err := client()
	if err != nil {
		return r, err
	}
	defer p.kill()
	ready := make(chan error, 1)
	go func() {
		err := skipToBanner(p.out)
		if err != nil {
			cancel(err) // nothing will connect to the far end
		}
		ready <- err
	}()
	conn, err := far.next(ctx)
	if err != nil {
		return r, fmt.Errorf("not connected: %w", errors.Join(cmp.Or(context.Cause(ctx), err), p.finish(b.ctx)))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() {
		p.Process.Kill()
		conn.Close()
	})()
	// The banner shows that the connection is up.
	if _, err := io.WriteString(conn, banner); err != nil {
		return r, err
	}
	if err := <-ready; err != nil {
		return r, fmt.Errorf("before the transfer: %w", errors.Join(err, p.finish(b.ctx)))
	}
	r.start = time.Since(spawned)
	from, to := io.Writer(conn), io.Reader(p.out)
	if up {
		from, to = p.in, conn
	}
	before := cpuSoFar(p.Process.Pid)
	begun := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- send(from, size) }()
	first := min(size, 64<<20)
	err = receive(to, 0, first)
	settled := p.peak.Load()
	if err == nil {
		err = receive(to, first, size)
	}
	took, busy := time.Since(begun), cpuSoFar(p.Process.Pid)-before
	if err = errors.Join(context.Cause(ctx), err); err != nil {
		p.kill()
		conn.Close()
		<-sent // fails because of that
		return r, fmt.Errorf("%w %s", err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	if err := <-sent; err != nil {
		return r, err
	}
	conn.Close() // this ends the session
	err = p.finish(b.ctx)
	r.rate = float64(size) / mb / took.Seconds()
	if before == 0 {
		busy = p.cpu() // the only figure available here; it includes start and end
	}
	r.cpu = busy.Seconds() / (float64(size) / (100 * mb))
	r.peak, r.growth = math.NaN(), math.NaN()
	if peak := p.peak.Load(); peak > 0 {
		r.peak = float64(peak) / (1 << 20)
		if size > first {
			r.growth = float64(peak-settled) / (1 << 20)
		}
	}
	return r, err
}

// banner is the first line that an sshd sends.
const banner = "SSH-2.0-bench\r\n"

// skipToBanner reads up to the far end's first line. It skips what some clients
// print before it, as ssh does.
func skipToBanner(r io.Reader) error {
	var said []string
	for {
		line, err := firstLine(r)
		switch {
		case strings.HasPrefix(line, "SSH-"):
			return err
		case err != nil:
			return fmt.Errorf("no banner, but %q: %w", strings.TrimSpace(strings.Join(append(said, line), " ")), err)
		}
		said = append(said, line)
	}
}
