package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// transferSSH compares real ssh through ssmpipe with the same ssh through a
// plain TCP ProxyCommand, to the same sshd.
func (b *bench) transferSSH() error {
	daemon, err := b.startSSHD()
	if err != nil {
		return err
	}
	defer daemon.kill()
	srv, err := b.startService(serviceConfig{Target: daemon.addr})
	if err != nil {
		return err
	}
	defer srv.kill()
	config, err := daemon.config(map[string]string{
		node:    b.ssmpipe + " proxy --region " + region + " %h %p",
		"plain": b.self + " role-netcat " + daemon.addr,
	})
	if err != nil {
		return err
	}
	newTable("Transfer by ssh", "", "MiB", "through ssmpipe MB/s", "through plain TCP MB/s", "ratio")
	runs := pick(b, 1, 3)
	for _, direction := range []struct {
		name string
		once func(env []string, config, host string) (float64, error)
	}{
		{"up: `ssh HOST 'wc -c'`", b.sshUp},
		{"down: `ssh HOST 'head -c N /dev/zero'`", b.sshDown},
	} {
		rates := map[string][]float64{}
		for range runs { // alternate, so that both run under the same conditions
			for _, host := range []string{node, "plain"} {
				progress("ssh to %s, %s", host, direction.name)
				rate, err := direction.once(srv.env, config, host)
				if err != nil {
					return fmt.Errorf("%s to %s: %w", direction.name, host, err)
				}
				rates[host] = append(rates[host], rate)
			}
		}
		ours, plain := middle(rates[node]), middle(rates["plain"])
		tableRow(direction.name, b.size>>20, ours, plain, ours/plain)
	}
	note("Medians of %d. Both are a ProxyCommand of the same ssh: `ssmpipe proxy`, or netcat. The clock runs from the first byte to the last, excluding the login.", runs)
	return nil
}

// sshUp sends the stream to wc, which unlike cat reports how much arrived.
func (b *bench) sshUp(env []string, config, host string) (float64, error) {
	p, err := b.spawn(env, "ssh", "-F", config, host, "echo ready; wc -c")
	if err != nil {
		return 0, err
	}
	defer p.kill()
	if line, err := firstLine(p.out); err != nil || line != "ready" {
		return 0, fmt.Errorf("%q %w", line, errors.Join(err, p.finish(b.ctx)))
	}
	begun := time.Now()
	if err := send(p.in, b.size); err != nil {
		return 0, errors.Join(err, p.finish(b.ctx))
	}
	p.in.Close()
	line, err := firstLine(p.out)
	took := time.Since(begun)
	if err == nil && strings.TrimSpace(line) != fmt.Sprint(b.size) {
		err = fmt.Errorf("%s of %d bytes arrived", line, b.size)
	}
	return float64(b.size) / mb / took.Seconds(), errors.Join(err, p.finish(b.ctx))
}

func (b *bench) sshDown(env []string, config, host string) (float64, error) {
	p, err := b.spawn(env, "ssh", "-F", config, host, fmt.Sprintf("echo ready; read go; head -c %d /dev/zero", b.size))
	if err != nil {
		return 0, err
	}
	defer p.kill()
	if line, err := firstLine(p.out); err != nil || line != "ready" {
		return 0, fmt.Errorf("%q %w", line, errors.Join(err, p.finish(b.ctx)))
	}
	begun := time.Now()
	if _, err := p.in.WriteString("go\n"); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, p.out)
	took := time.Since(begun)
	if err == nil && n != b.size {
		err = fmt.Errorf("%d of %d bytes arrived", n, b.size)
	}
	return float64(b.size) / mb / took.Seconds(), errors.Join(err, p.finish(b.ctx))
}
