package ssmproto

import (
	"context"
	"time"
)

// SetPingAfter makes a Conn impatient: a dead peer is noticed after three
// times d.
func (c *Config) SetPingAfter(d time.Duration) { c.pingAfter = d }

// Buffered returns how many bytes wait for Read, in order and out of it.
func (c *Conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.in.buf.n + c.s.in.kept
}

// SetSilenceAfter makes a Conn impatient with its agent.
func (c *Config) SetSilenceAfter(d time.Duration) { c.silenceAfter = d }

// SetGapLimit is for how long a gap may stay open.
func (c *Config) SetGapLimit(d time.Duration) { c.gapLimit = d }

// SetWatch replaces the watch on the network: f calls changed until ctx ends.
func (c *Config) SetWatch(f func(ctx context.Context, changed func())) { c.watchNetwork = f }

// PretendSleep makes the link believe that the machine slept for d, once it has
// looked at its clocks at all.
func (c *Conn) PretendSleep(d time.Duration) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	l.watch.dueWall = l.watch.dueWall.Add(-d)
}

// Gather makes few calls of many events.
var Gather = gather

// HasLooked says whether the link has looked at its clocks.
func (c *Conn) HasLooked() bool {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	return l.watch.looked
}

// WatchNetwork is the watch that a Conn has.
var WatchNetwork = watchNetwork

// Gone says whether an address is this machine's no longer.
var Gone = gone

// Repeated returns how many messages have come that had come before.
func (c *Conn) Repeated() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.in.again
}

// GiveUpLink returns a function that gives up the link that there is now.
func (c *Conn) GiveUpLink() func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.link
	return func() { l.giveUp(errMoved) }
}

// Lock keeps the Conn from taking anything in until release is called.
func (c *Conn) Lock() (release func()) {
	c.mu.Lock()
	return c.mu.Unlock
}

// PretendStop makes the link believe that this process was stopped for d.
func (c *Conn) PretendStop(d time.Duration) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	w := &l.watch
	w.mu.Lock()
	w.due, w.dueWall = w.due.Add(-d), w.dueWall.Add(-d)
	w.heardAt.Add(-int64(d))
	w.mu.Unlock()
	w.check()
}
