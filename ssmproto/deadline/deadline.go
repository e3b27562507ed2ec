// Package deadline ends waits for a condition when their time comes, as the
// deadlines of a net.Conn do. It imports nothing of this module.
package deadline

import (
	"sync"
	"time"
)

// Deadline wakes the goroutines that wait for Cond when its time comes. The
// zero time means never. Cond must be set before use, and its lock guards the
// Deadline: it must be held in calls of all methods.
type Deadline struct {
	Cond  *sync.Cond
	at    time.Time
	timer *time.Timer
}

// Set sets the deadline to t, for current and future waits. The zero time
// removes it.
func (d *Deadline) Set(t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	d.Cond.Broadcast()
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.at = time.Now().Add(wait) // on the monotonic clock, like the timer
		d.timer = time.AfterFunc(wait, func() {
			d.Cond.L.Lock()
			defer d.Cond.L.Unlock()
			d.Cond.Broadcast()
		})
	}
}

// Passed reports whether the deadline has passed.
func (d *Deadline) Passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
