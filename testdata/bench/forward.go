package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// forward measures `ssmpipe forward`: how long a connection takes to set up,
// and the throughput of several sessions.
func (b *bench) forward() error {
	if err := b.forwardSetUp(); err != nil {
		return err
	}
	return b.forwardWide()
}

// startForward runs `ssmpipe forward` to the service's one destination and
// returns where it listens.
func (b *bench) startForward(s *service, args ...string) (p *process, addr string, err error) {
	args = append(append([]string{"forward", "--json", "--region", region, "-L", "0:localhost:22"}, args...), node)
	p, err = b.spawn(s.env, b.ssmpipe, args...)
	if err != nil {
		return nil, "", err
	}
	line, err := firstLine(p.out)
	var ready struct{ Listen string }
	if err == nil {
		err = json.Unmarshal([]byte(line), &ready)
	}
	if err != nil {
		p.kill()
		return nil, "", fmt.Errorf("ssmpipe forward: %w: %s", err, p.stderr.String())
	}
	return p, ready.Listen, nil
}

// stopForward ends a forward as Ctrl-C does.
func stopForward(p *process) {
	p.in.Close()
	p.Process.Signal(os.Interrupt)
	<-p.ended
}

// forwardSetUp times successive connections, from connect to the echo of a
// byte.
func (b *bench) forwardSetUp() error {
	echo, err := listenEcho()
	if err != nil {
		return err
	}
	defer echo.Close()
	newTable("Forward: connect, send a byte, receive it back, one connection after the other",
		"", "connections", "median", "99th percentile", "above the round trip, 99th percentile")
	for _, row := range []struct {
		name string
		rtt  time.Duration
		n    int
	}{
		{"ssmpipe forward, round trip 0 ms", 0, pick(b, 300, 1000)},
		{"ssmpipe forward, round trip 50 ms", 50 * time.Millisecond, pick(b, 50, 200)},
		{"plain TCP, round trip 0 ms", -1, pick(b, 300, 1000)},
	} {
		progress("%s", row.name)
		addr := echo.Addr().String()
		rtt := max(row.rtt, 0)
		if row.rtt >= 0 {
			way := ssmtest.Path{Delay: rtt / 2}
			srv, err := b.startService(serviceConfig{Target: addr, Up: way, Down: way})
			if err != nil {
				return err
			}
			defer srv.kill()
			p, local, err := b.startForward(srv)
			if err != nil {
				return err
			}
			defer stopForward(p)
			addr = local
		}
		var took []time.Duration
		for range row.n {
			d, err := roundTrip(addr)
			if err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			took = append(took, d)
		}
		p99 := quantile(took, 0.99)
		tableRow(row.name, row.n, quantile(took, 0.5), p99, p99-rtt)
	}
	note("A connection takes one round trip: data is sent right after the request for it, without waiting for an answer.")
	return nil
}

func listenEcho() (net.Listener, error) {
	return serveEach(func(c net.Conn) { io.Copy(c, c) })
}

// serveEach serves each connection until the listener is closed.
func serveEach(handle func(net.Conn)) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l, nil
}

func roundTrip(addr string) (time.Duration, error) {
	begun := time.Now()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write([]byte{1}); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return 0, err
	}
	return time.Since(begun), nil
}

// forwardWide downloads at the agent's own pace, over one session and over
// eight.
func (b *bench) forwardWide() error {
	size := int64(pick(b, 2, 8)) << 20
	files, err := listenFiles(size)
	if err != nil {
		return err
	}
	defer files.Close()
	srv, err := b.startService(serviceConfig{Target: files.Addr().String(), Sleep: true})
	if err != nil {
		return err
	}
	defer srv.kill()
	newTable("Forward: parallel downloads at the agent's pace", "", "MiB each", "MB/s", "ratio")
	one := 0.0
	for _, n := range []int{1, 8} {
		progress("%d downloads over %d sessions", n, n)
		p, addr, err := b.startForward(srv, "--sessions", fmt.Sprint(n))
		if err != nil {
			return err
		}
		defer stopForward(p)
		b.pause(time.Second) // one session is up, the others are being opened
		begun := time.Now()
		var wg sync.WaitGroup
		errs := make(chan error, n)
		for range n {
			wg.Go(func() { errs <- download(addr, size) })
		}
		wg.Wait()
		for range n {
			if err := <-errs; err != nil {
				return err
			}
		}
		rate := float64(n) * float64(size) / mb / time.Since(begun).Seconds()
		if n == 1 {
			one = rate
		}
		tableRow(fmt.Sprintf("%d over `--sessions %d`", n, n), size>>20, rate, rate/one)
	}
	return nil
}

// listenFiles serves a number of bytes of the stream to clients that send a
// byte.
func listenFiles(size int64) (net.Listener, error) {
	return serveEach(func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			w := bufio.NewWriterSize(c, chunk)
			if send(w, size) == nil {
				w.Flush()
			}
		}
	})
}

func download(addr string, size int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	return receive(c, 0, size)
}
