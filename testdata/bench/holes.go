package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"
)

// hole is something that interrupts a download.
type hole struct {
	name   string
	lasts  time.Duration
	stop   bool // the client's process, and not the path
	forget bool // the path has forgotten the connections that were open
	wanted time.Duration
}

// holes measures how long a download at the agent's pace takes to be back after
// it was interrupted: not until the next new byte, which may come while almost
// all others are repeated at ten messages a second, but until the pace is.
func (b *bench) holes() error {
	newTable("Holes: a download at the agent's pace over a 50 ms path that is interrupted",
		"", "pace before", "back to 90 % of it after", "wanted", "links", "bytes")
	rows := []hole{
		{name: "silent for 3 s", lasts: 3 * time.Second, wanted: 5 * time.Second},
		{name: "silent for 8 s", lasts: 8 * time.Second, wanted: 5 * time.Second},
		{name: "silent for 8 s, and the open connections forgotten", lasts: 8 * time.Second, forget: true, wanted: 15 * time.Second},
		{name: "client stopped for 10 s", lasts: 10 * time.Second, stop: true, wanted: 5 * time.Second},
	}
	if !b.short {
		rows = append(rows,
			hole{name: "silent for 20 s", lasts: 20 * time.Second, wanted: 5 * time.Second},
			hole{name: "silent for 60 s", lasts: time.Minute, wanted: 5 * time.Second},
			hole{name: "silent for 20 s, and the open connections forgotten", lasts: 20 * time.Second, forget: true, wanted: 15 * time.Second},
			hole{name: "client stopped for 60 s", lasts: time.Minute, stop: true, wanted: 5 * time.Second})
	}
	for _, h := range rows {
		if err := b.holeRow(h); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
	}
	note("The real binary, over TLS, through a proxy that delays all bytes and holds them while it is silent; connections to come wait, too. From the end of the interruption to the first of three seconds in a row in which at least 90 % of what the seconds before it had brought came. A path that has forgotten connections is what a changed address or a restarted router looks like to a client that is not told: nothing of them arrives any more, and nobody says so. The service keeps nothing for a client that is away. Only what the client has read counts, and every byte is compared.")
	return nil
}

func (b *bench) holeRow(h hole) error {
	progress("holes: %s", h.name)
	far, err := newFarEnd()
	if err != nil {
		return err
	}
	defer far.Close()
	srv := newService(serviceConfig{Target: far.addr, Sleep: true})
	defer srv.Close()
	url, env, err := b.clientEnv(access{srv.Env(), srv.CertPEM()})
	if err != nil {
		return err
	}
	way, err := b.newSlowPath(strings.TrimPrefix(url, "https://"), 25*time.Millisecond, 12_500_000, 100_000)
	if err != nil {
		return err
	}
	defer way.close()
	p, err := b.spawn(through(env, way.addr()), b.ssmpipe, proxyArgs...)
	if err != nil {
		return err
	}
	defer p.kill()
	end, err := far.next(b.ctx)
	if err != nil {
		return err
	}
	defer end.Close()
	go func() {
		for pos := int64(0); ; pos += chunk {
			if _, err := end.Write(streamAt(pos, chunk)); err != nil {
				return
			}
		}
	}()
	var m meter
	go m.read(p.out)

	b.pause(2 * time.Second)
	from, err := m.seen()
	if err != nil {
		return err
	}
	const before = 4
	b.pause(before * time.Second)
	n, err := m.seen()
	if err != nil {
		return err
	}
	pace := float64(n-from) / before
	if h.stop {
		p.Process.Signal(syscall.SIGSTOP)
		b.pause(h.lasts)
		p.Process.Signal(syscall.SIGCONT)
	} else {
		way.standStill(true, false)
		b.pause(h.lasts)
		way.standStill(false, h.forget)
	}
	begun := time.Now()
	took, err := m.back(b, begun, pace)
	if err != nil {
		return fmt.Errorf("%w; it said: %s", err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	tableRow(h.name, fmt.Sprintf("%.2f MB/s", pace/1e6), took, "< "+h.wanted.String(), srv.Sessions()[0].Links(), "all right")
	return nil
}

// meter reads a stream and knows how much of it had come when.
type meter struct {
	mu   sync.Mutex
	n    int64
	err  error
	when []mark
}

func (m *meter) read(r io.Reader) {
	buf := make([]byte, 64<<10)
	for pos := int64(0); ; {
		n, err := r.Read(buf)
		if !bytes.Equal(buf[:n], streamAt(pos, n)) {
			err = fmt.Errorf("wrong bytes after %d right ones", pos)
		}
		pos += int64(n)
		m.mu.Lock()
		m.n, m.err = pos, err
		m.when = append(m.when, mark{time.Now(), pos})
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (m *meter) seen() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n, m.err
}

// at returns how much had come at the time t.
func (m *meter) at(t time.Time) (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.when {
		if w.at.After(t) {
			break
		}
		n = w.n
	}
	return n
}

// back waits until the stream has kept 90 % of pace, in bytes a second, for three
// seconds, and returns when they began, after begun.
func (m *meter) back(b *bench, begun time.Time, pace float64) (time.Duration, error) {
	const step, sustained = 100 * time.Millisecond, 3
	for t := begun; t.Sub(begun) < 10*time.Minute; t = t.Add(step) {
		b.pause(time.Until(t.Add(sustained * time.Second)))
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
		if _, err := m.seen(); err != nil {
			return 0, err
		}
		kept := true
		for i := range sustained {
			second := t.Add(time.Duration(i) * time.Second)
			kept = kept && float64(m.at(second.Add(time.Second))-m.at(second)) >= 0.9*pace
		}
		if kept {
			return t.Sub(begun), nil
		}
	}
	return 0, errors.New("not back within 10 minutes")
}
