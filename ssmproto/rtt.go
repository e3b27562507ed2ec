package ssmproto

import "time"

// Bounds of the retransmission timeout. RFC 6298 asks for a minimum of 1 s and
// allows less; 200 ms is what Linux's TCP uses and what the agent starts from.
// The agent acknowledges each message at once, so there is no delayed
// acknowledgement to wait for. The maximum is short because below us is TCP:
// what is lost is lost in the service or before the agent has dialled its
// port, and asking again costs one message.
const (
	initialRTO = time.Second
	minRTO     = 200 * time.Millisecond
	maxRTO     = 5 * time.Second
)

// rtt estimates the round-trip time by RFC 6298 section 2. The zero value has
// no sample yet.
type rtt struct {
	smoothed time.Duration
	varied   time.Duration
	latest   time.Duration
	stale    bool // all of that is of another path, and may be much too short
}

// restart takes in that the path is another from now on. What is known is good
// enough for a guess at its rate, and too little for a timeout: one that is
// shorter than the new round trip would always come before the acknowledgement.
func (r *rtt) restart() { r.stale = true }

// sample takes one measurement in. The caller keeps Karn's rule: no
// measurement from a message that was sent more than once.
func (r *rtt) sample(d time.Duration) {
	d = max(d, time.Microsecond)
	r.latest = d
	if r.smoothed == 0 || r.stale {
		r.smoothed, r.varied, r.stale = d, d/2, false
		return
	}
	r.varied += ((r.smoothed - d).Abs() - r.varied) / 4
	r.smoothed += (d - r.smoothed) / 8
}

// timeout returns the retransmission timeout before any back-off.
func (r *rtt) timeout() time.Duration {
	least := minRTO
	if r.smoothed == 0 || r.stale {
		least = initialRTO
	}
	return min(max(r.smoothed+4*r.varied, least), maxRTO)
}

// recent is the round-trip time to reckon rates with. One late sample, as of a
// path or an agent that stood still, must not slow down what comes after it.
func (r *rtt) recent() time.Duration { return min(r.smoothed, r.latest) }
