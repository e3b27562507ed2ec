package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// start measures the time to the first byte of an SSH banner.
func (b *bench) start() error {
	far, err := newFarEnd()
	if err != nil {
		return err
	}
	defer far.Close()
	go func() { // sends sshd's banner, without its fork
		for {
			c, err := far.Accept()
			if err != nil {
				return
			}
			go greet(c)
		}
	}()
	srv, err := b.startService(serviceConfig{Target: far.addr})
	if err != nil {
		return err
	}
	defer srv.kill()
	runs := pick(b, 10, 40)
	newTable("Start: from exec to the first byte of the SSH banner", "", "median", "95th percentile", "round trips", "CPU until StartSession arrives", "CPU to the end")
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond} {
		service, err := b.newSlowPath(strings.TrimPrefix(srv.url, "https://"), rtt/2, 0, 0)
		if err != nil {
			return err
		}
		defer service.close()
		plain, err := b.newSlowPath(far.addr, rtt/2, 0, 0)
		if err != nil {
			return err
		}
		defer plain.close()
		for _, client := range []struct {
			name  string
			spawn func() (*process, error)
			calls <-chan string
		}{
			{"ssmpipe", func() (*process, error) {
				return b.spawn(through(srv.env, service.addr()), b.ssmpipe, proxyArgs...)
			}, srv.calls},
			{"plain TCP", func() (*process, error) { return b.spawn(nil, b.self, "role-netcat", plain.addr()) }, nil},
		} {
			name := fmt.Sprintf("%s, round trip %d ms", client.name, rtt.Milliseconds())
			progress("start: %s", name)
			var times, early, all []time.Duration
			for range runs {
				s, err := b.startOnce(client.spawn, client.calls)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				times, all = append(times, s.banner), append(all, s.cpu)
				if s.cpuAtCall > 0 {
					early = append(early, s.cpuAtCall)
				}
			}
			trips, cpu := any("–"), any("–")
			if rtt > 0 {
				trips = float64(quantile(times, 0.5)) / float64(rtt)
			}
			if len(early) > 0 {
				cpu = quantile(early, 0.5)
			}
			tableRow(name, quantile(times, 0.5), quantile(times, 0.95), trips, cpu, quantile(all, 0.5))
		}
	}
	note("%d runs each. The round trip applies to API and data channel alike, over TLS, through a proxy that delays all bytes and adds one round trip for each TCP handshake. There is no delay between the agent and its port. Round trips: the median divided by the round-trip time, so it includes CPU time.", runs)
	return nil
}

// greet closes the connection after the banner, which ends the client.
func greet(c net.Conn) {
	defer c.Close()
	io.WriteString(c, "SSH-2.0-bench\r\n")
}

// started is the result of one start.
type started struct {
	banner         time.Duration
	cpu, cpuAtCall time.Duration
}

func (b *bench) startOnce(spawn func() (*process, error), calls <-chan string) (s started, err error) {
	for len(calls) > 0 {
		<-calls // from the previous run
	}
	begun := time.Now()
	p, err := spawn()
	if err != nil {
		return s, err
	}
	defer p.kill()
	over := make(chan struct{})
	atCall := make(chan time.Duration, 1)
	go func() {
		select {
		case <-calls: // the client waits for the response now
			atCall <- cpuSoFar(p.Process.Pid)
		case <-over:
			atCall <- 0
		}
	}()
	_, err = io.ReadFull(p.out, make([]byte, 4))
	s.banner = time.Since(begun)
	close(over)
	s.cpuAtCall = <-atCall
	if err = errors.Join(err, p.finish(b.ctx)); err == nil {
		s.cpu = p.cpu()
	}
	return s, err
}
