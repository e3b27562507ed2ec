package ssmproto

import "time"

// How long a link may be quiet. When it is, we ask whether anybody is there; when
// it stays quiet, we try whether anybody can be reached at all, by a second
// connection to the same place that uses no token:
//
//	                   asked after      tried after      given up after, at the earliest
//	usually            pingAfter, 5 s   twice that       deadFactor times that, 15 s
//	during a download  2/5 of it, 2 s   twice that       deadFactor times that, 6 s
//	in doubt           at once          half doubtTime   doubtTime, 2 s, or more (Conn.roamed)
//
// A quiet link is given up only once the second connection stands: until then
// the network is away, and when it comes back TCP delivers what is under way. A
// new link would not: the agent repeats what was lost with the old one at ten
// messages a second (protocol section 4).
//
// A link is in doubt when the network has changed or this process did not run
// for a while, until a ping is answered. Other things that are heard may have
// come before that and only be read now; they are a reason to wait longer, and
// no proof.
const (
	pingAfter  = 5 * time.Second
	deadFactor = 3
)

const (
	// longestGrace bounds how long, after the second connection stands, the old
	// one may stay quiet if a download is under way on it. After an outage TCP
	// sends again within the time that the outage took (RFC 6298 section 5.5: the
	// timeout doubles); a link that is replaced costs about as much as this.
	longestGrace = 15 * time.Second

	// dearMessages is how many messages within a second or two are a download:
	// the agent would need three seconds and more to repeat as many.
	dearMessages = 30

	// retryProbe is how long after the second connection has failed another is
	// tried.
	retryProbe = time.Second
)

// vigil decides whether a link is dead. It has no lock, no clock and no I/O: it
// is told what happens and the time since the link began, and says what to do.
type vigil struct {
	patience time.Duration // how long silence may last before a ping
	limit    time.Duration // how long the network may be away; 0: for ever

	heard    time.Duration // the last sign of life
	proved   time.Duration // the last answer to a ping
	doubted  time.Duration // when the link was last put in doubt
	doubt    time.Duration // how long silence may last in doubt
	rerouted bool          // packets to the service leave from another address now
	download bool          // much was under way when it became quiet

	probing bool          // a second connection is being made
	begun   time.Duration // since when, or since when it stands; 0: there is none
	stands  time.Duration // when it was made; 0: it has not been
	retryAt time.Duration // no other before this
}

// step is what to do about a quiet link.
type step int

const (
	stepNone  step = iota // nothing yet
	stepPing              // send a ping
	stepProbe             // make a second connection
	stepCalm              // something was heard: drop the second connection
	stepEnd               // the link is dead
)

// inDoubt says whether only an answer to a ping counts.
func (v *vigil) inDoubt() bool { return v.doubted > v.proved }

// since returns when the present silence began. Time that this process did not
// run is none of it.
func (v *vigil) since() time.Duration {
	if v.inDoubt() {
		return max(v.heard, v.doubted)
	}
	return v.heard
}

// suspect puts the link in doubt at the time now, for silence of up to doubt.
func (v *vigil) suspect(now, doubt time.Duration) { v.doubted, v.doubt = now, doubt }

// probed takes in that the second connection was made, or could not be.
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

// grace returns how long the link may stay quiet after the second connection
// stands.
func (v *vigil) grace() time.Duration {
	if !v.download || v.rerouted {
		return v.patience / 20 // little is lost with it: just so that both can come back together
	}
	return min(max(v.stands-v.since(), doubtTime), longestGrace)
}
