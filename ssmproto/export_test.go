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
	l.looking.Lock()
	defer l.looking.Unlock()
	l.lookedWall = l.lookedWall.Add(-d)
}

// Gather makes few calls of many events.
var Gather = gather

// HasLooked says whether the link has looked at its clocks.
func (c *Conn) HasLooked() bool {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	l.looking.Lock()
	defer l.looking.Unlock()
	return !l.looked.IsZero()
}

// WatchNetwork is the watch that a Conn has.
var WatchNetwork = watchNetwork

// Gone says whether an address is this machine's no longer.
var Gone = gone
