package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// interactive measures what a person sees: the echo of a typed key during an
// upload on the same ControlMaster connection, at 8 Mbit/s and 50 ms.
func (b *bench) interactive() error {
	daemon, err := b.startSSHD()
	if err != nil {
		return err
	}
	defer daemon.kill()
	path := shaped(1_000_000, 50, 1_000_000)
	srv, err := b.startService(serviceConfig{Target: daemon.addr, Up: path, Down: path})
	if err != nil {
		return err
	}
	defer srv.kill()
	plain, err := b.newSlowPath(daemon.addr, path.Delay, path.Rate, path.Queue)
	if err != nil {
		return err
	}
	defer plain.close()
	config, err := daemon.config(map[string]string{
		node:    b.ssmpipe + " proxy --region " + region + " %h %p",
		"plain": b.self + " role-netcat " + plain.addr(),
	})
	if err != nil {
		return err
	}
	newTable("Interactive: the echo of a typed key, 8 Mbit/s, 50 ms, 1 MB queue",
		"", "keys", "median", "95th percentile", "max", "wanted (95th)", "upload Mbit/s")
	for _, c := range []echoCase{
		{node, "ssh through ssmpipe", "< 200 ms", false},
		{node, "the same, the master `ssh -MN`", "–", true},
		{"plain", "ssh through plain TCP", "–", false},
	} {
		if err := b.echoRows(srv.env, config, c); err != nil {
			return fmt.Errorf("%s: %w", c.label, err)
		}
	}
	note("From typing the key on the pty to its echo, every 200 ms, including the path's round trip. The upload is `ssh HOST 'cat > /dev/null'` on the same master. The master is the session on the pty, as with ControlMaster; a master without a terminal buffers 128 KB in ssh itself instead of 16 KB. The path for plain TCP pushes back instead of dropping when its queue is full, and TCP's own congestion control ends at its near side.")
	return nil
}

// echoCase is a kind of connection.
type echoCase struct {
	host, label, wanted string
	headless            bool // use a master without a terminal
}

func (b *bench) echoRows(env []string, config string, c echoCase) error {
	progress("interactive: %s", c.label)
	socket := filepath.Join(b.dir, fmt.Sprintf("m%t%s", c.headless, c.host))
	ssh := func(args ...string) []string { return append([]string{"ssh", "-F", config, "-S", socket}, args...) }
	onTTY := ssh("-M", "-tt", c.host, "echo ready; cat")
	if c.headless {
		master, err := b.spawn(env, "ssh", ssh("-MN", c.host)[1:]...)
		if err != nil {
			return err
		}
		defer master.kill()
		if err := b.waitForMaster(master, socket); err != nil {
			return err
		}
		onTTY = ssh("-tt", c.host, "echo ready; cat")
	}
	tty, err := b.openTTY(env, "", onTTY...)
	if err != nil {
		return err
	}
	defer tty.close()
	alone, err := b.typeKeys(tty, pick(b, 3*time.Second, 6*time.Second))
	if err != nil {
		return err
	}
	tableRow(c.label+", alone", len(alone), quantile(alone, 0.5), quantile(alone, 0.95), quantile(alone, 1), "–", "–")

	upload, err := b.spawn(env, "ssh", ssh(c.host, "cat > /dev/null")[1:]...)
	if err != nil {
		return err
	}
	var sent atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer upload.kill() // the writer ends with it
	wg.Go(func() {
		for {
			n, err := upload.in.Write(streamAt(0, 16<<10))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	b.pause(4 * time.Second) // until the buffers of ssh are full
	before, begun := sent.Load(), time.Now()
	beside, err := b.typeKeys(tty, pick(b, 10*time.Second, 30*time.Second))
	if err != nil {
		return err
	}
	rate := float64(sent.Load()-before) * 8 / 1e6 / time.Since(begun).Seconds()
	tableRow(c.label+", during an upload", len(beside), quantile(beside, 0.5), quantile(beside, 0.95), quantile(beside, 1), c.wanted, rate)
	return nil
}

func (b *bench) waitForMaster(master *process, socket string) error {
	for end := time.Now().Add(30 * time.Second); ; b.pause(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-master.ended:
			return fmt.Errorf("ssh -MN: %w: %s", master.err, master.stderr.String())
		default:
		}
		if b.ctx.Err() != nil || time.Now().After(end) {
			return errors.New("ssh -MN: no socket")
		}
	}
}
