package ssmproto

import "time"

// SetPingAfter makes a Conn impatient: a dead peer is noticed after three
// times d.
func (c *Config) SetPingAfter(d time.Duration) { c.pingAfter = d }

// Buffered returns how many bytes wait for Read, in order and out of it.
func (c *Conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.in.buf.n + c.s.in.kept
}

// SetGapLimit is for how long a gap may stay open.
func (c *Config) SetGapLimit(d time.Duration) { c.gapLimit = d }
