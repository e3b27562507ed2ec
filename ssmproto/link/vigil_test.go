package link

import (
	"testing"
	"time"
)

// watched is what happens to a link and when, in seconds since it began.
type watched struct {
	speaks   []float64 // something is heard
	pongs    []float64 // a ping is answered
	doubts   []float64 // the network changes
	network  float64   // from when on a second connection can be made; < 0: never
	download bool
	rerouted bool
	limit    time.Duration
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// run plays w and returns when the link was given up, or 0 if it was not within
// ten minutes, and how many pings and second connections were made.
func (w watched) run(t *testing.T) (end time.Duration, pings, probes int) {
	v := vigil{patience: PingAfter, limit: w.limit, rerouted: w.rerouted}
	v.download = w.download
	var due, made time.Duration
	for now := time.Duration(0); now < 10*time.Minute; now += 10 * time.Millisecond {
		for _, s := range w.speaks {
			if seconds(s) == now {
				v.heard, due = now, now
			}
		}
		for _, s := range w.pongs {
			if seconds(s) == now {
				v.heard, v.proved, due = now, now, now
			}
		}
		for _, s := range w.doubts {
			if seconds(s) == now && !v.inDoubt() {
				v.suspect(now, doubtTime)
				due = now
			}
		}
		// Until the network is there an attempt fails after 15 s; one that is
		// under way then succeeds within a second.
		switch {
		case !v.probing:
		case w.network >= 0 && now >= max(made, seconds(w.network))+200*time.Millisecond:
			v.probed(now, true)
			due = now
		case now-made >= DialTimeout:
			v.probed(now, false)
			due = now
		}
		for range 3 {
			if now < due {
				break
			}
			var step step
			step, due = v.look(now)
			switch step {
			case stepEnd:
				return now, pings, probes
			case stepPing:
				pings++
			case stepProbe:
				probes++
				made = now
			}
			if due < now {
				t.Fatalf("at %v: look again at %v", now, due)
			}
		}
	}
	return 0, pings, probes
}

func TestVigil(t *testing.T) {
	steady := func(until float64) (s []float64) {
		for at := 1.0; at <= until; at++ {
			s = append(s, at)
		}
		return s
	}
	for _, c := range []struct {
		name     string
		watched  watched
		from, to float64 // when the link is given up; 0: never
	}{
		{"it speaks", watched{speaks: steady(600)}, 0, 0},
		{"it answers pings", watched{pongs: []float64{5, 10, 15, 20}, network: -1}, 0, 0},
		{"dead, and the network is there", watched{}, 15, 15.5},
		{"dead, in a download", watched{download: true}, 6, 9},
		{"the network is away for good", watched{network: -1}, 0, 0},
		{"the network is away for good, with a limit", watched{network: -1, limit: 5 * time.Minute}, 300, 300.1},
		{"a limit that is shorter than it takes to be sure", watched{limit: time.Second}, 15, 15.5},
		{"away for 20 s", watched{network: 20}, 20.2, 21},
		{"away for 20 s in a download: TCP has as long again", watched{network: 20, download: true}, 35, 35.3},
		{"away for 8 s in a download", watched{network: 8, download: true}, 16, 17},
		{"the same, and the way is another now", watched{network: 8, download: true, rerouted: true}, 8.2, 9},
		{"away for 20 s in a download, then it speaks", watched{network: 20, download: true, speaks: append([]float64{24}, steady(600)[24:]...)}, 0, 0},
		{"a change of network, and it answers", watched{speaks: steady(600), doubts: []float64{3.5}, pongs: []float64{3.6}}, 0, 0},
		{"a change of network, and it is dead", watched{speaks: steady(3), doubts: []float64{3.5}}, 5.5, 6},
		{"a change of network, and the network is away", watched{speaks: steady(3), doubts: []float64{3.5}, network: 60}, 60.2, 61},
		{"changes all the time", watched{speaks: steady(3), doubts: []float64{3.5, 4, 4.5, 5, 5.5, 6}}, 5.5, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			end, pings, probes := c.watched.run(t)
			t.Logf("given up after %v; %d pings, %d second connections", end, pings, probes)
			switch {
			case c.to == 0 && end != 0, c.to > 0 && (end < seconds(c.from) || end > seconds(c.to)):
				t.Errorf("given up after %v, want %v to %v s", end, c.from, c.to)
			case pings > 300 || probes > 60:
				t.Errorf("%d pings and %d second connections in ten minutes", pings, probes)
			}
		})
	}
}
