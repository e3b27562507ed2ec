package link

import "time"

// How long a link may be silent. When it is, we send a ping; if it stays
// silent, we test whether the service can be reached at all, by a second
// connection to the same endpoint that uses no token:
//
//	                   ping after       second after     given up after, at the earliest
//	usually            PingAfter, 5 s   twice that       deadFactor times that, 15 s
//	during a download  2/5 of it, 2 s   twice that       deadFactor times that, 6 s
//	in doubt           at once          half doubtTime   doubtTime, 2 s, or more (Link.Roamed)
//
// A silent link is given up only once the second connection has been made:
// until then the network is down, and when it comes back TCP delivers what is
// in flight. Replacing the link would lose that, and the agent would retransmit
// it at ten messages a second (protocol section 4).
//
// A link is in doubt after the network has changed or this process did not run
// for a while, until a ping is answered. Other data may have arrived before
// that and only be read now; it is a reason to wait longer, but no proof.
const (
	PingAfter  = 5 * time.Second
	deadFactor = 3
)

const (
	// longestGrace bounds how long the link may stay silent after the second
	// connection has been made, if a download is under way on it. After an
	// outage TCP retransmits within the time that the outage took (RFC 6298
	// section 5.5: the timeout doubles); replacing a link costs about as much
	// as this.
	longestGrace = 15 * time.Second

	// dearMessages is how many messages within a second or two make a download:
	// the agent would need three seconds or more to retransmit as many.
	dearMessages = 30

	// retryProbe is how long after the second connection has failed another one
	// is tried.
	retryProbe = time.Second
)

// vigil decides whether a link is dead. It has no lock, no clock and no I/O:
// its caller passes events and the time since the link began, and learns what
// to do.
type vigil struct {
	patience time.Duration // how long silence may last before a ping
	limit    time.Duration // how long the network may be down; 0: no limit

	heard    time.Duration // the last sign of life
	proved   time.Duration // the last answer to a ping
	doubted  time.Duration // when the link was last put in doubt
	doubt    time.Duration // how long silence may last in doubt
	rerouted bool          // new connections to the service use another local address
	download bool          // a download was under way when the link fell silent

	probing bool          // a second connection is being made
	begun   time.Duration // when it was started; 0: there is none
	stands  time.Duration // when it was made; 0: it has not been
	retryAt time.Duration // when the next one may be tried
}

// step is what to do about a silent link.
type step int

const (
	stepNone  step = iota // nothing yet
	stepPing              // send a ping
	stepProbe             // make a second connection
	stepCalm              // something was heard: drop the second connection
	stepEnd               // the link is dead
)

// inDoubt reports whether only a pong proves that the link is alive.
func (v *vigil) inDoubt() bool { return v.doubted > v.proved }

// since returns when the current silence began. Time in which this process did
// not run does not count.
func (v *vigil) since() time.Duration {
	if v.inDoubt() {
		return max(v.heard, v.doubted)
	}
	return v.heard
}

// suspect puts the link in doubt; it may be silent for up to doubt.
func (v *vigil) suspect(now, doubt time.Duration) { v.doubted, v.doubt = now, doubt }

// probed records that the second connection was made, or failed.
func (v *vigil) probed(now time.Duration, made bool) {
	v.probing = false
	if made {
		v.stands = now
	} else {
		v.begun, v.retryAt = 0, now+retryProbe
	}
}

// look returns what to do now, and when to look again.
func (v *vigil) look(now time.Duration) (step, time.Duration) {
	since, patience := v.since(), v.patience
	if v.begun > 0 && since > v.begun {
		v.probing, v.begun, v.stands, v.retryAt = false, 0, 0, 0
		return stepCalm, now
	}
	if v.download {
		patience = patience * 2 / 5
	}
	askAt, probeAt, endAt := since+patience, since+2*patience, since+deadFactor*patience
	if v.inDoubt() {
		probeAt, endAt = since+v.doubt/2, since+v.doubt
	}
	probeAt = max(probeAt, v.retryAt)
	limitAt := max(endAt, since+v.limit)
	if v.stands > 0 {
		endAt = max(endAt, v.stands+v.grace())
	}
	next := now + patience // the next ping
	if now < askAt {
		next = askAt
	}
	switch {
	case v.limit > 0 && now >= limitAt:
		return stepEnd, now
	case v.stands > 0 && now >= endAt:
		return stepEnd, now
	case v.stands > 0:
		next = min(next, endAt)
	case v.begun == 0 && now >= probeAt:
		v.probing, v.begun = true, now
		return stepProbe, now + min(patience, time.Second)
	case v.begun == 0:
		next = min(next, probeAt)
	}
	if v.limit > 0 {
		next = min(next, limitAt)
	}
	if now >= askAt {
		return stepPing, next
	}
	return stepNone, next
}

// grace returns how long the link may stay silent after the second connection
// has been made.
func (v *vigil) grace() time.Duration {
	if !v.download || v.rerouted {
		return v.patience / 20 // little is lost with the link: just enough for both to come back together
	}
	return min(max(v.stands-v.since(), doubtTime), longestGrace)
}
