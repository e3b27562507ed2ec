package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// hole is an interruption of a download.
type hole struct {
	name   string
	lasts  time.Duration
	stop   bool   // stops the client's process instead of the network
	after  string // the step that brings the network back
	wanted time.Duration
	long   bool // omitted with -short
}

const (
	quick = 5 * time.Second  // if the connection still works afterwards
	anew  = 15 * time.Second // if a new one is needed
)

var holeRows = []hole{
	{name: "no packets for 3 s", lasts: 3 * time.Second, after: dropNone, wanted: quick},
	{name: "no packets for 8 s", lasts: 8 * time.Second, after: dropNone, wanted: quick},
	{name: "no packets for 20 s", lasts: 20 * time.Second, after: dropNone, wanted: quick, long: true},
	{name: "no packets for 60 s", lasts: time.Minute, after: dropNone, wanted: quick, long: true},
	{name: "client stopped for 10 s", lasts: 10 * time.Second, stop: true, wanted: quick},
	{name: "client stopped for 60 s", lasts: time.Minute, stop: true, wanted: quick, long: true},
	{name: "no packets for 8 s, then another address", lasts: 8 * time.Second, after: moveAway, wanted: anew},
	{name: "no packets for 20 s, then another address", lasts: 20 * time.Second, after: moveAway, wanted: anew, long: true},
	{name: "no packets for 8 s, then the old connection's are dropped", lasts: 8 * time.Second, after: dropOpen, wanted: anew},
	{name: "no packets for 20 s, then the old connection's are dropped", lasts: 20 * time.Second, after: dropOpen, wanted: anew, long: true},
}

// holeResult is the result from the process for a row.
type holeResult struct {
	Pace  float64 // bytes per second before the interruption
	Took  time.Duration
	Links int
	Said  string // the client's stderr
	Err   string
}

// holes measures how long a download at the agent's pace takes to recover from
// an interruption: not until the next new byte, which may arrive while almost
// all other messages are retransmissions at ten a second, but until it is back
// at its pace. Each row has a process and a network of its own; all run at
// once.
func (b *bench) holes() error {
	type row struct {
		hole
		holeResult
	}
	var rows []*row
	var wg sync.WaitGroup
	for i, h := range holeRows {
		if h.long && b.short {
			continue
		}
		cmd, err := inNamespace(b.ctx, b.self, "role-hole", b.ssmpipe, b.dir, strconv.Itoa(i))
		if err != nil {
			return err
		}
		cmd.Stderr = os.Stderr
		cmd.WaitDelay = 5 * time.Second
		if _, err := cmd.StdinPipe(); err != nil { // the role ends when this closes
			return err
		}
		r := &row{hole: h}
		rows = append(rows, r)
		wg.Go(func() {
			out, err := cmd.Output()
			if err == nil {
				err = json.Unmarshal(out, &r.holeResult)
			}
			if err != nil {
				r.Err = err.Error()
			}
		})
	}
	progress("holes: %d rows at once", len(rows))
	wg.Wait()
	newTable("Holes: a download at the agent's pace, interrupted",
		"", "pace before", "back to 90 % of it after", "wanted", "links", "lost in transit")
	for _, r := range rows {
		if r.Err != "" {
			return fmt.Errorf("%s: %s; it said: %s", r.name, r.Err, r.Said)
		}
		took := any(r.Took)
		if r.Took == 0 {
			took = fmt.Sprintf("> %v", holeLimit)
		}
		lost := "0"
		if m := lostMessages.FindStringSubmatch(r.Said); m != nil {
			lost = m[1] + " messages"
		}
		tableRow(r.name, fmt.Sprintf("%.2f MB/s", r.Pace/1e6), took, "< "+r.wanted.String(), r.Links, lost)
	}
	note("The real binary, over TLS. Packets between it and the service are dropped by the system, so that both ends' TCP does what it does in an outage. Times are from the end of the interruption to the first of three consecutive seconds with at least 90 %% of the rate before it. In the last rows the address changes, or packets of the old connection are dropped, as by a restarted firewall that does not tell the client. The service drops the data that an ended connection holds; the agent retransmits it at ten messages a second. Only data that the client has read counts, and every byte is compared.")
	return nil
}

// lostMessages finds in ssmpipe's output how many messages the agent must
// retransmit.
var lostMessages = regexp.MustCompile(`(\d+) messages were lost`)

// holeLimit is how long a row waits for the download to be back at its pace.
const holeLimit = 3 * time.Minute

// holeRole measures one row.
func holeRole(args []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	i, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	b := &bench{ctx: ctx, ssmpipe: args[0], dir: args[1]}
	r, err := b.hole(holeRows[i])
	if err != nil {
		r.Err = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (b *bench) hole(h hole) (r holeResult, err error) {
	if err := shell(setUp, ""); err != nil {
		return r, err
	}
	far, err := newFarEnd()
	if err != nil {
		return r, err
	}
	defer far.Close()
	srv := newService(serviceConfig{Target: far.addr, Sleep: true, Address: serviceIP})
	defer srv.Close()
	url, env, err := b.clientEnv(access{srv.Env(), srv.CertPEM()})
	if err != nil {
		return r, err
	}
	port := url[strings.LastIndex(url, ":")+1:]
	p, err := b.spawn(env, b.ssmpipe, proxyArgs...)
	if err != nil {
		return r, err
	}
	defer func() {
		p.kill()
		r.Said = strings.TrimSpace(p.stderr.String())
	}()
	end, err := far.next(b.ctx)
	if err != nil {
		return r, err
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
		return r, err
	}
	const before = 4
	b.pause(before * time.Second)
	n, err := m.seen()
	if err != nil {
		return r, err
	}
	r.Pace = float64(n-from) / before
	if h.stop {
		p.Process.Signal(syscall.SIGSTOP)
		b.pause(h.lasts)
		p.Process.Signal(syscall.SIGCONT)
	} else {
		if err := shell(dropAll, port); err != nil {
			return r, err
		}
		b.pause(h.lasts)
		if err := shell(h.after, port); err != nil {
			return r, err
		}
	}
	r.Took, err = m.back(b, time.Now(), r.Pace)
	r.Links = srv.Sessions()[0].Links()
	return r, err
}

// meter reads a stream and records how much of it had arrived at which time.
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
			err = fmt.Errorf("wrong bytes after %d correct ones", pos)
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

// at returns how much had arrived at the time t.
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

// back waits until the stream has kept 90 % of pace, in bytes per second, for
// three seconds. It returns when they began, relative to begun: 0 if that takes
// too long, and slightly more than 0 if the rate never fell below.
func (m *meter) back(b *bench, begun time.Time, pace float64) (time.Duration, error) {
	const step, sustained = 100 * time.Millisecond, 3
	for t := begun; t.Sub(begun) < holeLimit; t = t.Add(step) {
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
			return max(t.Sub(begun), 1), nil
		}
	}
	return 0, nil
}
