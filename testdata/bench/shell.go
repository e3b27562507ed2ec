package main

import (
	"errors"
	"fmt"
	"time"
)

// shell measures `ssmpipe shell` on a terminal: how much output it shows per
// second, what that costs, how soon a key is echoed, and how soon Ctrl-C stops
// a command's output.
func (b *bench) shell() error {
	newTable("Shell, on a terminal: bulk output, a typed key, Ctrl-C",
		"", "MiB", "MB/s", "client CPU s per 100 MB", "peak RSS MiB", "key, median", "key, 95th percentile", "Ctrl-C to prompt, median")
	size := b.size / 4
	for _, c := range []struct {
		name string
		cfg  serviceConfig
		size int64
	}{
		{"ssmpipe shell", serviceConfig{}, size},
		{"ssmpipe shell, encrypted with KMS", serviceConfig{KMS: true}, size},
		{"ssmpipe shell, the agent's sleep on", serviceConfig{Sleep: true}, pick(b, int64(4), 16) << 20},
	} {
		progress("%s", c.name)
		srv, err := b.startService(c.cfg)
		if err != nil {
			return err
		}
		err = b.shellRow(c.name, c.size, srv.env, b.ssmpipe, "shell", "--region", region, node)
		srv.kill()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if err := b.shellSSH(size); err != nil && !errors.Is(err, errSkip) {
		return err
	} else if err != nil {
		note("ssh: %v", err)
	}
	note("The far side's shell has a pty of its own, at the agent; its output is read from the near side's pty. A key is typed into `cat` every 200 ms; Ctrl-C ends `yes` after half a second, ten times. CPU and RSS are the client process's.")
	return nil
}

// shellSSH measures ssh -tt over plain TCP.
func (b *bench) shellSSH(size int64) error {
	daemon, err := b.startSSHD()
	if err != nil {
		return err
	}
	defer daemon.kill()
	config, err := daemon.config(map[string]string{"plain": b.self + " role-netcat " + daemon.addr})
	if err != nil {
		return err
	}
	progress("ssh -tt through plain TCP")
	return b.shellRow("ssh -tt through plain TCP", size, nil, "ssh", "-F", config, "-tt", "plain", "sh")
}

func (b *bench) shellRow(name string, size int64, env []string, args ...string) error {
	// Input is echoed at first, so it must not contain the text that is waited
	// for.
	t, err := b.openTTY(env, "PS1=; stty -echo; echo rea''dy\n", args...)
	if err != nil {
		return err
	}
	defer t.close()
	pid := t.cmd.Process.Pid
	cpu, begun := cpuSoFar(pid), time.Now()
	fmt.Fprintf(t, "head -c %d /dev/zero | tr '\\0' x; echo; echo all\n", size)
	if err := t.waitFor("x\r\nall\r\n"); err != nil {
		return err
	}
	took := time.Since(begun)
	cpu = cpuSoFar(pid) - cpu

	var stopped []time.Duration
	for range 10 {
		fmt.Fprint(t, "yes; echo stopped\n")
		if err := t.drain(500 * time.Millisecond); err != nil {
			return err
		}
		begun := time.Now()
		// The shell gets the interrupt, too, and skips the rest of its line.
		fmt.Fprint(t, "\x03echo stop''ped\n")
		if err := t.waitFor("stopped\r\n"); err != nil {
			return err
		}
		stopped = append(stopped, time.Since(begun))
	}

	fmt.Fprint(t, "stty echo; echo rea''dy; cat\n")
	if err := t.waitFor("ready\r\n"); err != nil {
		return err
	}
	keys, err := b.typeKeys(t, pick(b, 3*time.Second, 10*time.Second))
	if err != nil {
		return err
	}
	peak := statusBytes(pid, "VmHWM:")
	tableRow(name, size>>20, float64(size)/mb/took.Seconds(), cpu.Seconds()/(float64(size)/(100*mb)), float64(peak)/(1<<20),
		quantile(keys, 0.5), quantile(keys, 0.95), quantile(stopped, 0.5))
	return nil
}
