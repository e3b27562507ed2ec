package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// frameHead is the number of bytes that the WebSocket adds to a client's
// message: header, length and mask. ssmtest's rate does not count them, the
// wire does.
const frameHead = 8

// link is a path between client and agent, the same in both directions.
type link struct {
	name  string
	path  ssmtest.Path // between client and service
	agent ssmtest.Path // between service and agent; only one of the two has a rate
	dip   int          // bytes per second that the rate changes to every 5 s, and back
	limit time.Duration
	share float64 // the wanted goodput
}

var links = []link{
	{name: "100 Mbit/s, 20 ms, 1 MB queue", path: shaped(12_500_000, 20, 1_000_000), share: 0.95, limit: 40 * time.Millisecond},
	{name: "8 Mbit/s, 50 ms, 1 MB queue", path: shaped(1_000_000, 50, 1_000_000), share: 0.95, limit: 100 * time.Millisecond},
	{name: "500 kbit/s, 80 ms, 256 KB queue", path: shaped(62_500, 80, 256_000), share: 0.9, limit: 250 * time.Millisecond},
	{name: "8 Mbit/s, 50 ms, 2 % loss both ways", path: lossy(shaped(1_000_000, 50, 1_000_000)), share: 0.8, limit: 250 * time.Millisecond},
	{name: "8 Mbit/s, 50 ms, 1 MB queue, on the agent's side", path: shaped(0, 50, 0), agent: shaped(1_000_000, 0, 1_000_000), share: 0.95, limit: 100 * time.Millisecond},
	{name: "8 Mbit/s, 50 ms, on the agent's side, the relay pushes back", path: shaped(0, 50, 0), agent: shaped(1_000_000, 0, 0), share: 0.95, limit: 100 * time.Millisecond},
	{name: "50 ms, 8 to 2 Mbit/s and back every 5 s", path: shaped(1_000_000, 50, 1_000_000), dip: 250_000, share: 0.85, limit: 500 * time.Millisecond},
}

func shaped(rate, rtt, queue int) ssmtest.Path {
	return ssmtest.Path{Rate: rate, Delay: time.Duration(rtt) * time.Millisecond / 2, Queue: queue}
}

func lossy(p ssmtest.Path) ssmtest.Path {
	p.Drop = 0.02
	return p
}

// paths measures, on emulated paths, how much of the path a bulk upload fills
// and how long a single byte takes meanwhile.
func (b *bench) paths() error {
	newTable("Paths: a bulk upload, and a single byte every 100 ms",
		"path", "MB/s", "goodput", "wanted", "added delay: median", "95th percentile", "wanted", "max", "overhead")
	for _, l := range links {
		if err := b.pathRow(l); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	for _, loopback := range []struct {
		name   string
		wanted any
		rig    func() (*rig, error)
	}{
		{"loopback", "< 5.0 ms", func() (*rig, error) { return b.newRig(ssmtest.Path{}, ssmtest.Path{}) }},
		{"loopback, plain TCP", "–", b.newPlainRig},
	} {
		if err := b.loopbackRow(loopback.name, loopback.wanted, loopback.rig); err != nil {
			return fmt.Errorf("%s: %w", loopback.name, err)
		}
	}
	note("%v each, from the first byte on, including the start. Goodput is payload that has arrived, as a share of rate × %d / (%d + %d): the emulated rate counts messages with their headers, but not the WebSocket's %d bytes. Added delay is the time from the start of Write, including the wait for its turn among writers of 1 KiB, to the far end, minus the path's one-way delay. Overhead is bytes on the wire divided by those of full messages with the payload that arrived, minus 1: retransmissions, short messages, acknowledgements. In the rows on the agent's side the bottleneck is between service and agent, and the delay between client and service; a service that pushes back holds 1 MiB and then stops reading from the client. Client, service and far end share a process. All bytes are compared.",
		b.pathTime(), ssmproto.MaxPayload, ssmproto.MaxPayload, ssmproto.HeadLen, frameHead)
	return b.stallRow()
}

func (b *bench) pathTime() time.Duration { return pick(b, 8*time.Second, 30*time.Second) }

func (b *bench) pathRow(l link) error {
	progress("path: %s", l.name)
	r, err := b.newRig(l.path, l.path)
	if err != nil {
		return err
	}
	defer r.close()
	r.srv.SetAgentPath(l.agent, l.agent)
	wire := r.wire.Load()
	load := r.load(true)
	defer load.end()
	defer r.near.SetDeadline(time.Unix(1, 0))
	begun := time.Now()
	carried := 0.0 // bytes of messages that the path could have carried
	for path := l.path; b.ctx.Err() == nil; {
		since := time.Now()
		left := b.pathTime() - since.Sub(begun)
		if left <= 0 {
			break
		}
		if l.dip > 0 {
			left = min(left, 5*time.Second)
		}
		b.pause(left)
		carried += time.Since(since).Seconds() * float64(path.Rate+l.agent.Rate)
		if l.dip > 0 {
			path.Rate = l.dip + l.path.Rate - path.Rate
			r.srv.SetPath(path, path)
		}
	}
	took, arrived := time.Since(begun), r.sink.count()
	if err := r.settle(b, load); err != nil {
		return err
	}
	payload := carried * ssmproto.MaxPayload / (ssmproto.MaxPayload + ssmproto.HeadLen)
	need := float64(r.pos.Load()) * (ssmproto.MaxPayload + ssmproto.HeadLen + frameHead) / ssmproto.MaxPayload
	beyond := float64(r.wire.Load()-wire)/need - 1
	tableRow(append(append([]any{l.name, float64(arrived) / mb / took.Seconds(),
		percent(float64(arrived) / payload), fmt.Sprintf("> %.0f %%", 100*l.share)},
		delays(r.sink, l.path.Delay, "< "+cell(l.limit))...), percent(beyond))...)
	return nil
}

// delays returns the cells for probes.
func delays(s *sink, way time.Duration, wanted any) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []any{quantile(s.delays, 0.5) - way, quantile(s.delays, 0.95) - way, wanted, quantile(s.delays, 1) - way}
}

func (b *bench) loopbackRow(name string, wanted any, connect func() (*rig, error)) error {
	progress("path: %s", name)
	r, err := connect()
	if err != nil {
		return err
	}
	defer r.close()
	load := r.load(true)
	defer load.end()
	defer r.near.SetDeadline(time.Unix(1, 0))
	begun := time.Now()
	b.pause(b.pathTime())
	took, arrived := time.Since(begun), r.sink.count()
	if err := r.settle(b, load); err != nil {
		return err
	}
	tableRow(append(append([]any{name, float64(arrived) / mb / took.Seconds(), "–", "–"}, delays(r.sink, 0, wanted)...), percent(math.NaN()))...)
	return nil
}

// stallRow stops the agent during an upload and lets it go on.
func (b *bench) stallRow() error {
	path := shaped(1_000_000, 50, 1_000_000)
	stall, after := pick(b, 5*time.Second, 10*time.Second), pick(b, 6*time.Second, 10*time.Second)
	progress("path: agent stops for %v", stall)
	r, err := b.newRig(path, path)
	if err != nil {
		return err
	}
	defer r.close()
	load := r.load(false)
	defer load.end()
	defer r.near.SetDeadline(time.Unix(1, 0))
	b.pause(4 * time.Second)
	r.srv.StallAgent(true)
	b.pause(stall)
	before, pos := r.sink.count(), r.pos.Load()
	resumed := time.Now()
	r.srv.StallAgent(false)
	if err := r.sink.waitFor(b.ctx, before, time.Minute); err != nil {
		return err
	}
	first := time.Since(resumed)
	b.pause(after)
	if err := r.settle(b, load); err != nil {
		return err
	}
	capacity := float64(path.Rate) * ssmproto.MaxPayload / (ssmproto.MaxPayload + ssmproto.HeadLen)
	full, err := r.sink.fullFrom(resumed, pos, 0.9*capacity)
	if err != nil {
		full = math.MaxInt64
	}
	newTable("Paths: the agent stops and goes on, 8 Mbit/s, 50 ms", "stopped for", "first byte", "90 % of the path's goodput", "wanted", "bytes")
	tableRow(stall, first, orNever(full), "< 1000 ms", "all right")
	note("Times are from when the agent goes on. 90 %%: the start of the first half second with that much goodput, not counting data written before the agent went on.")
	return nil
}

func orNever(d time.Duration) any {
	if d == math.MaxInt64 {
		return "not reached"
	}
	return d
}

// fullFrom returns how long after t the first half second began in which the
// stream after pos arrived at a given rate.
func (s *sink) fullFrom(t time.Time, pos int64, rate float64) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := 0
	for _, from := range s.trace {
		if from.at.Before(t) || from.n < pos {
			continue
		}
		for j < len(s.trace) && s.trace[j].at.Sub(from.at) < 500*time.Millisecond {
			j++
		}
		if j == len(s.trace) {
			break
		}
		to := s.trace[j]
		if float64(to.n-from.n)/to.at.Sub(from.at).Seconds() >= rate {
			return from.at.Sub(t), nil
		}
	}
	return 0, errors.New("never")
}
