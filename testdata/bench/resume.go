package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// resume measures how long an upload stalls when its connection is cut.
func (b *bench) resume() error {
	newTable("Resume: an upload over a 50 ms path whose connection is cut", "", "cuts", "median", "95th percentile", "max", "wanted", "rest after the last", "bytes")
	for _, cut := range []struct {
		name string
		how  ssmtest.Cut
	}{
		{"close 1000 \"Bye\"", ssmtest.CutBye},
		{"end without a close frame", ssmtest.CutAbnormal},
		{"TCP reset", ssmtest.CutReset},
	} {
		way := ssmtest.Path{Delay: 25 * time.Millisecond}
		r, err := b.newRig(way, way)
		if err == nil {
			err = b.cutRow(r, cut.name, "–", func() { r.srv.Cut(cut.how) })
		}
		if err != nil {
			return fmt.Errorf("%s: %w", cut.name, err)
		}
	}
	r, err := b.newProcessRig(50 * time.Millisecond)
	if err == nil {
		err = b.cutRow(r, "ssmpipe, all of it 50 ms away, TLS: TCP reset", "< 300 ms", func() { r.srv.Cut(ssmtest.CutReset) })
	}
	if err != nil {
		return err
	}
	note("From the cut, at the service, to the next new byte at the far end; the rest is data written but not arrived when writing ended after the last cut. In the first rows a Conn in this process resumes, and only messages are delayed: connecting and ResumeSession take no time. In the last row the binary resumes, and API, TCP, TLS and WebSocket take their round trips (50 ms, 100 Mbit/s).")
	return b.offlineRow()
}

// cutRow cuts repeatedly and prints the results.
func (b *bench) cutRow(r *rig, name string, wanted any, cut func()) error {
	defer r.close()
	progress("resume: %s", name)
	load := r.load(false)
	defer load.end()
	defer r.near.SetDeadline(time.Unix(1, 0))
	var gaps []time.Duration
	cuts := pick(b, 10, 50)
	for i := range cuts {
		// At random times, so that they do not coincide with anything periodic.
		b.pause(500*time.Millisecond + time.Duration(i*37%200)*time.Millisecond)
		begun := time.Now()
		cut()
		if err := b.backAgain(r, i+1); err != nil {
			return err
		}
		gaps = append(gaps, time.Since(begun))
	}
	stopped := time.Now()
	if err := r.settle(b, load); err != nil {
		return err
	}
	tableRow(name, cuts, quantile(gaps, 0.5), quantile(gaps, 0.95), quantile(gaps, 1), wanted, time.Since(stopped), "all right")
	return nil
}

// backAgain waits for the first byte that arrives over the n-th link after the
// first. Data that the agent already had may arrive until there is one.
func (b *bench) backAgain(r *rig, n int) error {
	session := r.srv.Sessions()[0]
	for end := time.Now().Add(time.Minute); session.Links() <= n; b.pause(500 * time.Microsecond) {
		if b.ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("not resumed: %d links after %d cuts", session.Links(), n)
		}
	}
	return r.sink.waitFor(b.ctx, r.sink.count(), time.Minute)
}

// offlineRow takes the network down for a while.
func (b *bench) offlineRow() error {
	away := pick(b, 5*time.Second, time.Minute)
	progress("resume: offline for %v", away)
	newTable("Resume: the network goes down and comes back", "down for", "data flows again after", "wanted", "bytes")
	way := ssmtest.Path{Delay: 25 * time.Millisecond}
	r, err := b.newRig(way, way)
	if err != nil {
		return err
	}
	defer r.close()
	load := r.load(false)
	defer load.end()
	defer r.near.SetDeadline(time.Unix(1, 0))
	b.pause(time.Second)
	r.srv.Offline(true)
	b.pause(away)
	begun := time.Now()
	r.srv.Offline(false)
	if err := b.backAgain(r, 1); err != nil {
		return err
	}
	took := time.Since(begun)
	if err := r.settle(b, load); err != nil {
		return err
	}
	tableRow(away, took, "< 2000 ms", "all right")
	note("When the network goes down, connections are reset; new ones are refused until it is back.")
	return nil
}

// newProcessRig returns a rig whose near end is the binary's stdin, on a path
// that delays every byte, including those of connecting.
func (b *bench) newProcessRig(rtt time.Duration) (r *rig, err error) {
	far, err := newFarEnd()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	r = &rig{sink: newSink(), srv: newService(serviceConfig{Target: far.addr})}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	url, env, err := b.clientEnv(access{r.srv.Env(), r.srv.CertPEM()})
	if err != nil {
		return r, err
	}
	way, err := b.newSlowPath(strings.TrimPrefix(url, "https://"), rtt/2, 12_500_000, 1_000_000)
	if err != nil {
		return r, err
	}
	p, err := b.spawn(through(env, way.addr()), b.ssmpipe, proxyArgs...)
	if err != nil {
		way.close()
		return r, err
	}
	r.near = &processConn{process: p, way: way}
	return r, r.connect(b, far)
}

// processConn makes a client's stdin the near end of a rig.
type processConn struct {
	net.Conn // the other methods, which are not called
	*process
	way *slowPath
}

func (c *processConn) Write(p []byte) (int, error) { return c.in.Write(p) }

func (c *processConn) SetDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }

func (c *processConn) SetWriteDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }

func (c *processConn) Close() error {
	c.kill()
	c.way.close()
	return nil
}
