package ssmproto

import (
	"context"
	"time"
)

// Ping measures how long the agent takes to acknowledge a message that has no
// effect, and everything written before. An answer also proves that the agent is
// connected to the session's port: before, it acknowledges nothing.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	c.SendFlag(0)
	if err := c.Flush(ctx); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}
