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
	ready, held := c.s.Buffered()
	return ready + held
}

// SetSilenceAfter makes a Conn impatient with its agent.
func (c *Config) SetSilenceAfter(d time.Duration) { c.silenceAfter = d }

// SetGapLimit is for how long a gap may stay open.
func (c *Config) SetGapLimit(d time.Duration) { c.gapLimit = d }

// SetWatch replaces the watch on the network: f calls changed until ctx ends.
func (c *Config) SetWatch(f func(ctx context.Context, changed func())) { c.watchNetwork = f }

// Repeated returns how many messages have come that had come before.
func (c *Conn) Repeated() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.Repeated()
}
