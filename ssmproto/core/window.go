package core

import "time"

const (
	minWindow     = 4 * (HeadLen + MaxPayload)
	initialWindow = 10 * (HeadLen + MaxPayload) // RFC 6928

	// maxWindow bounds the memory for unacknowledged messages. It fills 100
	// Mbit/s at a round-trip time of 320 ms.
	maxWindow = 4 << 20

	// Bounds of the delay that our own messages may add to the path, for which
	// keystrokes wait. It is a fraction of the path's own round-trip time, so
	// it goes unnoticed. With a lower minimum the jitter of a busy machine
	// would look like a queue; the maximum is well below what people notice
	// when typing.
	minQueueTarget = 2 * time.Millisecond
	maxQueueTarget = 20 * time.Millisecond

	// baseLife is how long the smallest round-trip time is trusted if it is not
	// seen again. After that it is probed for, as in BBR: for two round trips
	// almost nothing is sent, so that the measurement does not include a queue
	// of ours. Without that a standing queue would eventually be taken for the
	// path's own delay, and a path that has become longer for a queue.
	baseLife = 10 * time.Second

	// soonLife replaces baseLife when the window is at its minimum anyway: a
	// probe costs little then, and the path has probably become longer.
	soonLife = 2 * time.Second
)

// window is the congestion window, in bytes of frames: how much may be
// unacknowledged. It is controlled by delay, as in LEDBAT (RFC 6817): the
// round-trip time in excess of the smallest one seen is the queue that we
// build, and the window is adjusted to keep that near a target. Loss alone
// means little here (the channel runs over TCP), so only heavy loss shrinks the
// window.
type window struct {
	size      int
	slowStart bool

	base   time.Duration // the smallest round-trip time
	baseAt time.Duration // when it was last seen, or probed for
	probe  probe

	round     time.Duration // when the current round ends: it takes about one round-trip time
	roundMin  time.Duration // smallest sample of the current round
	roundSent int           // messages acknowledged or lost in it
	roundLost int           // messages lost in it
	limited   bool          // the window held something back in this round
	known     int           // size up to which the window may grow without a sample
}

// probe is a time in which the window is at its minimum.
type probe struct {
	from  time.Duration // when the queue has drained
	until time.Duration // when the probe ends; 0: there is none
	min   time.Duration // smallest round-trip time since from
	size  int           // the window's size before the probe
}

func newWindow() window {
	return window{size: initialWindow, slowStart: true}
}

// acked records that n bytes were acknowledged; d is the round-trip time
// measured with them, or 0 if there is none.
func (w *window) acked(n int, d, now time.Duration) {
	w.roundSent++
	if d > 0 {
		w.measure(d, now)
	}
	if w.probe.until > 0 {
		w.endProbe(now)
		return
	}
	if w.slowStart && w.limited {
		switch {
		case w.roundMin == 0:
			// Retransmitted messages give no sample, and after an outage that
			// is a windowful: half of what the path is known to carry is not
			// too much.
			w.size = max(w.size, min(w.size+n, w.known))
		case w.queue() < w.target()/2:
			w.grow(n)
		}
	}
	if now >= w.round {
		w.endRound(now)
	}
}

// lost records that a message was lost.
func (w *window) lost() {
	w.roundSent++
	w.roundLost++
}

// timedOut starts over: no acknowledgement arrived for a whole retransmission
// timeout.
func (w *window) timedOut() {
	w.known = max(w.size, w.probe.size) / 2
	w.size = minWindow
	w.probe = probe{}
	w.slowStart = true
}

// relinked forgets the old path, except for how much it carried: the new path
// is probably the same. Half of that is a careful start.
func (w *window) relinked() {
	known := max(w.size, w.known, w.probe.size)
	*w = newWindow()
	w.known = known
	w.size = max(w.size, known/2)
}

func (w *window) measure(d, now time.Duration) {
	if w.roundMin == 0 || d < w.roundMin {
		w.roundMin = d
	}
	if w.base == 0 || d < w.base {
		w.base = d
	}
	if d <= w.base+w.base/16 {
		w.baseAt = now
	}
	if p := &w.probe; p.until > 0 && now >= p.from && (p.min == 0 || d < p.min) {
		p.min = d
	}
	life := baseLife
	if w.size <= minWindow*3/2 {
		life = soonLife
	}
	if w.probe.until == 0 && now-w.baseAt > life {
		w.probe = probe{from: now + d, until: now + 2*d + time.Millisecond, size: w.size}
		w.size = minWindow
	}
}

// endProbe adopts the result of the probe, if that is over.
func (w *window) endProbe(now time.Duration) {
	p := w.probe
	if now < p.until || p.min == 0 {
		return
	}
	w.slowStart = p.min > w.base*3/2 // the path has become longer, so it holds more
	w.base, w.baseAt = p.min, now
	w.size, w.probe = max(p.size, minWindow), probe{}
	w.round = now + w.base
	w.roundMin, w.roundSent, w.roundLost, w.limited = 0, 0, 0, false
}

// target returns the queue to aim for: enough that the path never runs dry,
// which on a slow path takes two messages.
func (w *window) target() time.Duration {
	message := w.base * (HeadLen + MaxPayload) / time.Duration(w.size)
	return min(max(w.base/2, minQueueTarget), maxQueueTarget) + 2*message
}

// rate returns how fast to send, in bytes of frames per second: a little faster
// than acknowledgements can arrive, so that the window is the limit, and not so
// fast that a window in one burst overflows a small queue.
func (w *window) rate(rtt time.Duration) float64 {
	gain := 1.25
	if w.slowStart {
		gain = 2
	}
	return gain * float64(w.size) / rtt.Seconds()
}

// queue returns the delay in excess of the path's own, from the smallest sample
// of this round: a single late acknowledgement is not a queue.
func (w *window) queue() time.Duration { return w.roundMin - w.base }

func (w *window) endRound(now time.Duration) {
	if w.roundMin > 0 {
		q, target := w.queue(), w.target()
		// A lost acknowledgement looks like a lost message.
		heavyLoss := w.roundLost >= 4 && w.roundLost*8 > w.roundSent
		switch {
		case heavyLoss:
			w.slowStart = false
			w.size = w.size * 7 / 10
		case q > target:
			w.slowStart = false
			// size*q/(base+q) bytes are in the queue; remove those in excess of
			// the target, at most half of the window at once.
			excess := int(float64(w.size) * float64(q-target) / float64(w.base+q))
			w.size -= min(excess, w.size/2)
		case !w.slowStart && w.limited:
			// Grow by up to an eighth per round far from the target, less near
			// it.
			step := int(float64(w.size) / 8 * float64(target-q) / float64(target))
			w.grow(max(step, HeadLen+MaxPayload))
		}
	}
	w.size = max(w.size, minWindow)
	w.round = now + max(w.base, time.Millisecond)
	w.roundMin, w.roundSent, w.roundLost, w.limited = 0, 0, 0, false
}

func (w *window) grow(n int) { w.size = min(w.size+n, maxWindow) }
