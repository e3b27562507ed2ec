package core

import "time"

// The part of sender that decides which messages have arrived and which are lost.

// ack processes the acknowledgement of one message. It ignores duplicates, and
// acknowledgements of messages that were never sent.
func (s *sender) ack(seq int64, now time.Duration) {
	s.held = false
	if seq < s.una || seq >= s.next {
		return
	}
	p := s.at(seq)
	if p.state == acknowledged {
		return
	}
	// Neither a retransmitted message nor one given up as lost measures the
	// round-trip time: the first is ambiguous, the second was delayed by a
	// stall.
	var d time.Duration
	if !p.again && p.state == inFlight {
		d = now - p.sentAt
		s.rtt.sample(d)
	}
	if p.state == inFlight {
		s.inFlight -= len(p.frame)
	} else {
		s.lost--
	}
	if p.again && now-p.sentAt < s.window.base/2 {
		// Too soon for the last transmission: it acknowledges an earlier one,
		// and the retransmission was unnecessary (RFC 3522). The path has
		// become longer.
		s.rtt.restart()
	}
	p.state = acknowledged
	if !s.rtt.stale {
		s.backoff = 0
	}
	s.dataAcked = s.dataAcked || p.payload == Output
	s.window.acked(len(p.frame), d, now)

	// It is not known which of several transmissions was acknowledged. The
	// conservative assumption is that it was the first.
	if p.first > s.topAcked {
		s.topAcked = p.first
		s.detectLoss(now)
	}
	for s.una < s.next && s.at(s.una).state == acknowledged {
		s.una++
	}
	s.resend = max(s.resend, s.una)
	if s.una == s.next || s.inFlight == 0 {
		s.timerAt = 0
	} else {
		s.timerAt = now + s.timeout()
	}
}

// detectLoss marks messages as lost if at least reorderSlack later
// transmissions have arrived, and they were sent at least 9/8 of a round-trip
// time ago. (RFC 9002 section 6.1 requires only one of the two; with messages
// as small as ours, slight reordering involves more than three.)
func (s *sender) detectLoss(now time.Duration) {
	patience := s.rtt.smoothed + s.rtt.smoothed/8
	for seq := s.una; seq < s.next; seq++ {
		p := s.at(seq)
		if p.first > s.topAcked-reorderSlack {
			break // first rises with seq, so no later message has been overtaken either
		}
		if p.state != inFlight || p.last > s.topAcked-reorderSlack {
			continue
		}
		if p.last > s.topAcked-16*reorderSlack && now-p.sentAt < patience {
			continue
		}
		s.markLost(seq, p)
		s.window.lost()
	}
}

func (s *sender) markLost(seq int64, p *packet) {
	p.state = lost
	s.inFlight -= len(p.frame)
	s.lost++
	s.resend = min(s.resend, seq)
}

func (s *sender) timeout() time.Duration {
	return min(s.rtt.timeout()<<s.backoff, maxRTO)
}

// deadline returns when tick and poll are due, or 0 if they need no time to
// pass.
func (s *sender) deadline() time.Duration {
	if s.paced && (s.timerAt == 0 || s.paceAt < s.timerAt) {
		return s.paceAt
	}
	return s.timerAt
}

// tick fires the retransmission timer if it is due: everything in flight counts
// as lost and is retransmitted, slowly at first (RFC 6298 section 5).
func (s *sender) tick(now time.Duration) {
	if s.timerAt == 0 || now < s.timerAt {
		return
	}
	s.timerAt = 0
	s.backoff = min(s.backoff+1, 8)
	s.loseAll()
	s.window.timedOut()
}

// postpone restarts the retransmission timer while acknowledgements are not
// read because the stream is not.
func (s *sender) postpone(now time.Duration) {
	if s.timerAt != 0 {
		s.timerAt = now + s.timeout()
	}
}

func (s *sender) loseAll() {
	for seq := s.una; seq < s.next; seq++ {
		if p := s.at(seq); p.state == inFlight {
			s.markLost(seq, p)
		}
	}
}

// portDialled records that the agent has sent stream data, which proves that it
// has dialled its port. It has dropped what it received before without an
// acknowledgement, so that is retransmitted without waiting for the timer.
func (s *sender) portDialled() {
	if !s.dataAcked {
		s.dataAcked = true
		s.loseAll()
	}
}

// relink records that frames go over a new link from now on: messages that were
// in flight on the old one are retransmitted.
func (s *sender) relink() {
	s.loseAll()
	for seq := s.una; seq < s.next; seq++ {
		p := s.at(seq)
		p.first = 0
		p.again = true // its acknowledgement would measure the outage, not the round trip
	}
	s.topAcked = s.order
	s.timerAt = 0
	s.backoff = 0
	s.held = false
	s.rtt.restart()
	s.window.relinked()
}
