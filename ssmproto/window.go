package ssmproto

import "time"

const (
	minWindow     = 4 * (HeadLen + MaxPayload)
	initialWindow = 10 * (HeadLen + MaxPayload) // RFC 6928

	// maxWindow bounds the memory that unacknowledged messages take. It fills
	// 100 Mbit/s at a round-trip time of 320 ms.
	maxWindow = 4 << 20

	// The delay that our own messages may add on the path: a keystroke waits
	// behind it. It is a share of the path's own round-trip time, which nobody
	// will notice, within bounds: below the first the noise of a busy machine
	// would look like a queue, the second is well below what a hand notices.
	minQueueTarget = 2 * time.Millisecond
	maxQueueTarget = 20 * time.Millisecond

	// baseLife is for how long the smallest round-trip time is believed when it
	// is not seen again. Then it is probed for, as BBR does: for two round trips
	// next to nothing is sent, so that no queue of ours is in what is measured.
	// Without that a standing queue would be taken for the path in the end, and
	// a path that has become longer for a queue.
	baseLife = 10 * time.Second

	// soonLife is for how long it is when the window is next to nothing anyway:
	// then to probe costs little, and the path has probably become longer.
	soonLife = 2 * time.Second
)

// window is the congestion window, in bytes of frames: how much may be
// unacknowledged. It follows the delay, as LEDBAT (RFC 6817) does: the
// round-trip time beyond the smallest one seen is the queue that we build, and
// the window is moved so that this stays near a target. Loss alone says
// little here (below the channel is TCP), so only a lot of it shrinks the window.
type window struct {
	size      int
	slowStart bool

	base   time.Duration // the smallest round-trip time
	baseAt time.Duration // when it was last seen, or probed for
	probe  probe

	round     time.Duration // when the running round ends: about one round-trip time
	roundMin  time.Duration // smallest sample of the running round
	roundSent int           // messages acknowledged and lost in it
	roundLost int
	limited   bool // the window held something back in this round
	known     int  // size up to which it may grow without a sample
}

// probe is a time in which the window is as small as can be.
type probe struct {
	from  time.Duration // the queue is gone from then on
	until time.Duration // 0: there is no probe
	min   time.Duration // smallest round-trip time since from
	size  int           // of the window before
}

func newWindow() window {
	return window{size: initialWindow, slowStart: true}
}

// acked takes in that n bytes were acknowledged; d is the round-trip time
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
			// What is sent again gives no sample, and after an outage that is a
			// windowful: half of what the path was known to carry is not too much.
			w.size = max(w.size, min(w.size+n, w.known))
		case w.queue() < w.target()/2:
			w.grow(n)
		}
	}
	if now >= w.round {
		w.endRound(now)
	}
}

// lost takes in that a message was lost.
func (w *window) lost() {
	w.roundSent++
	w.roundLost++
}

// timedOut starts over: nothing was heard for a whole retransmission timeout.
func (w *window) timedOut() {
	w.known = max(w.size, w.probe.size) / 2
	w.size = minWindow
	w.probe = probe{}
	w.slowStart = true
}

// relinked forgets what belonged to the old path, but that it carried so much:
// the new one is probably the same. Half of it is a careful start.
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

// endProbe believes what the probe has found, once it is over.
func (w *window) endProbe(now time.Duration) {
	p := w.probe
	if now < p.until || p.min == 0 {
		return
	}
	w.slowStart = p.min > w.base*3/2 // it has become longer, so it takes more
	w.base, w.baseAt = p.min, now
	w.size, w.probe = max(p.size, minWindow), probe{}
	w.round = now + w.base
	w.roundMin, w.roundSent, w.roundLost, w.limited = 0, 0, 0, false
}

// target is the queue that is aimed at: enough that the path does not run dry,
// which on a slow one takes two messages.
func (w *window) target() time.Duration {
	message := w.base * (HeadLen + MaxPayload) / time.Duration(w.size)
	return min(max(w.base/2, minQueueTarget), maxQueueTarget) + 2*message
}

// rate is how fast to send, in bytes of frames per second: a little faster than
// acknowledgements can come, so that the window is what limits, and not so fast
// that a window in one burst overruns a small queue.
func (w *window) rate(rtt time.Duration) float64 {
	gain := 1.25
	if w.slowStart {
		gain = 2
	}
	return gain * float64(w.size) / rtt.Seconds()
}

// queue is the delay beyond the path's own, by the best sample of this round:
// a single late acknowledgement is not a queue.
func (w *window) queue() time.Duration { return w.roundMin - w.base }

func (w *window) endRound(now time.Duration) {
	if w.roundMin > 0 {
		q, target := w.queue(), w.target()
		// An acknowledgement that is lost looks like a message that is.
		heavyLoss := w.roundLost >= 4 && w.roundLost*8 > w.roundSent
		switch {
		case heavyLoss:
			w.slowStart = false
			w.size = w.size * 7 / 10
		case q > target:
			w.slowStart = false
			// What stands in the queue is size*q/(base+q); take the excess
			// over the target out, at most a half at once.
			excess := int(float64(w.size) * float64(q-target) / float64(w.base+q))
			w.size -= min(excess, w.size/2)
		case !w.slowStart && w.limited:
			// Up to an eighth a round far from the target, less near it.
			step := int(float64(w.size) / 8 * float64(target-q) / float64(target))
			w.grow(max(step, HeadLen+MaxPayload))
		}
	}
	w.size = max(w.size, minWindow)
	w.round = now + max(w.base, time.Millisecond)
	w.roundMin, w.roundSent, w.roundLost, w.limited = 0, 0, 0, false
}

func (w *window) grow(n int) { w.size = min(w.size+n, maxWindow) }
