package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// others compares ssmpipe with other published clients. It leaves out those
// that start session-manager-plugin or contain its code: they are the plugin.
func (b *bench) others() error {
	far, err := newFarEnd()
	if err != nil {
		return err
	}
	defer far.Close()
	fast, err := b.startService(serviceConfig{Target: far.addr, Unsigned: true})
	if err != nil {
		return err
	}
	defer fast.kill()
	real, err := b.startService(serviceConfig{Target: far.addr, Unsigned: true, Sleep: true})
	if err != nil {
		return err
	}
	defer real.kill()

	o := otherBench{bench: b, far: far, fast: fast, real: real}
	newTable("Other clients, through pipes, over TLS", "", "start",
		"up MB/s", "CPU s per 100 MB", "down MB/s", "CPU s per 100 MB",
		"down, the agent's sleep on MB/s", "CPU s per 100 MB", "peak RSS MiB")
	o.row("ssmpipe", append([]string{b.ssmpipe}, proxyArgs...))
	var versions []string
	for i, c := range otherClients {
		progress("others: building %s", c.name)
		command, err := c.install(b, fmt.Sprintf("%s/other%d", b.dir, i))
		switch {
		case b.ctx.Err() != nil:
			return nil
		case err != nil:
			tableRow(c.name, "not installed", "–", "–", "–", "–", "–", "–", "–")
			o.remark(c.name+" "+c.version, err)
			continue
		}
		o.row(c.name, command)
		versions = append(versions, c.name+" "+c.version)
	}
	for _, r := range o.remarks {
		note("%s", r)
	}
	few, many := o.sizes()
	note("Start: from exec to the far end's first line, median of %d. Transfers are of %d MiB or, where that takes less than a second, %d MiB; medians of %d. The clock runs from the first byte written to the last received; all bytes are compared. CPU is the client process's in that time, RSS the largest VmHWM. All clients use the same services, with the agent's sleep off and on. These do not check the signature of the WebSocket's upgrade, because not every client signs it.", otherStarts, few>>20, many>>20, o.runs())
	note("Built by go install: %s. They find the service by AWS_ENDPOINT_URL and trust it by SSL_CERT_FILE. session-manager-plugin has no go.mod and does not build with today's twinj/uuid, so it is built with the one that it was written for. It is not a ProxyCommand by itself: `aws ssm start-session` calls StartSession and starts it. Here a few lines of Go do that, so its figure does not include the start of the AWS CLI. What it writes to stdout before the far end's first line is skipped, as ssh does.", cmp.Or(strings.Join(versions, ", "), "none"))
	return nil
}

// otherStarts is the number of starts of which a figure is the median.
const otherStarts = 5

// otherBench has what all clients are measured with, and remarks on failures.
type otherBench struct {
	*bench
	far        *farEnd
	fast, real *service
	remarks    []string
}

// sizes returns the sizes in bytes of a slow and of a fast transfer.
func (o *otherBench) sizes() (few, many int64) {
	return min(pick[int64](o.bench, 2, 8)<<20, o.size), o.size
}

func (o *otherBench) runs() int { return pick(o.bench, 1, 3) }

func (o *otherBench) remark(what string, err error) {
	if text := what + ": " + oneLine(err.Error()); !slices.Contains(o.remarks, text) {
		o.remarks = append(o.remarks, text)
	}
}

// row measures a client. A failure results in a cell that says so, and a
// remark.
func (o *otherBench) row(name string, command []string) {
	const failed = "failed"
	peak := 0.0
	once := func(what string, s *service, up bool, size int64) (result, bool) {
		progress("others: %s, %s, %d bytes", name, what, size)
		limit := pick(o.bench, 30*time.Second, 2*time.Minute)
		ctx, cancel := context.WithTimeoutCause(o.ctx, limit, fmt.Errorf("no end after %v", limit))
		defer cancel()
		r, err := o.pipeOnce(ctx, o.far, func() (*process, error) {
			return o.spawn(o.env(s), command[0], command[1:]...)
		}, up, size)
		if err != nil {
			o.remark(name+", "+what, err)
		}
		peak = max(peak, r.peak)
		return r, r.rate > 0 // all bytes were correct, however the client ended
	}
	var starts []time.Duration
	for range otherStarts {
		r, ok := once("start", o.fast, true, 1)
		if !ok { // nothing else will work
			tableRow(name, failed, "–", "–", "–", "–", "–", "–", "–")
			return
		}
		starts = append(starts, r.start)
	}
	cells := []any{name, quantile(starts, 0.5)}
	for _, t := range []struct {
		what string
		s    *service
		up   bool
	}{{"up", o.fast, true}, {"down", o.fast, false}, {"down, the agent's sleep on", o.real, false}} {
		size, many := o.sizes()
		var rates, cpus []float64
		for len(rates) < o.runs() {
			r, ok := once(t.what, t.s, t.up, size)
			if !ok {
				break
			}
			if size < many && float64(size)/mb/r.rate < 1 {
				size = many // and measure again
				continue
			}
			rates, cpus = append(rates, r.rate), append(cpus, r.cpu)
		}
		if len(rates) < o.runs() {
			cells = append(cells, failed, "–")
			continue
		}
		cells = append(cells, middle(rates), middle(cpus))
	}
	if peak == 0 {
		peak = math.NaN()
	}
	tableRow(append(cells, peak)...)
}

// env returns the environment of a client. Go programs that do not know
// AWS_CA_BUNDLE find the certificate by SSL_CERT_FILE; HOME keeps their files
// out of the user's.
func (o *otherBench) env(s *service) (env []string) {
	for _, v := range s.env {
		if !strings.HasPrefix(v, "HOME=") {
			env = append(env, v)
		}
		if file, ok := strings.CutPrefix(v, "AWS_CA_BUNDLE="); ok {
			env = append(env, "SSL_CERT_FILE="+file)
		}
	}
	return append(env, "HOME="+o.dir)
}

// oneLine returns a program's message on one line, without addresses and paths
// of this machine.
func oneLine(text string) string {
	words := slices.DeleteFunc(strings.Fields(text), func(w string) bool {
		return strings.Contains(w, "://") || strings.HasPrefix(w, os.TempDir())
	})
	if text = strings.Join(words, " "); len(text) > 300 {
		text = text[:300] + " …"
	}
	return text
}
