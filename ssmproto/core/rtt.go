package core

import "time"

// Bounds of the retransmission timeout. RFC 6298 asks for a minimum of 1 s and
// allows less; 200 ms is what Linux's TCP uses and what the agent starts from.
// The agent acknowledges each message at once, so there is no delayed
// acknowledgement to wait for. The maximum is short because the channel runs
// over TCP: messages are lost in the service, or before the agent has dialled
// its port, and a retransmission costs one message.
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
	stale    bool // the samples are from another path, and may be much too short
}

// restart records that the path has changed. The old samples are good enough to
// estimate its rate, but not for a timeout: one shorter than the new round-trip
// time would always expire before the acknowledgement arrives.
func (r *rtt) restart() { r.stale = true }

// sample adds a measurement. The caller follows Karn's algorithm: no
// measurement of a message that was sent more than once.
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

// recent returns the round-trip time to compute rates from. One late sample,
// for example after the path or the agent stalled, must not slow down what
// follows.
func (r *rtt) recent() time.Duration { return min(r.smoothed, r.latest) }
