package ssmproto

import "github.com/ssmpipe/ssmpipe/ssmproto/link"

// roamed is called when the network has changed or the machine was asleep. The
// next attempt to connect is made at once, and a link must prove itself.
func (c *Conn) roamed() {
	c.log.Debug("the network has changed, or the machine was asleep")
	select {
	case c.again <- struct{}{}:
	default:
	}
	if a := c.attempt.Load(); a != nil {
		a.giveUp(a.patience)
	}
	c.mu.Lock()
	var l *link.Link
	if c.linked {
		l = c.link
	}
	// A slow path needs longer: twice the time in which answers usually arrive.
	patience := 2 * c.s.AnswerTime()
	c.mu.Unlock()
	if l != nil {
		l.Roamed(patience)
	}
}

// roamedSince reports whether roamed was called since the last call of
// roamedSince.
func (c *Conn) roamedSince() bool {
	select {
	case <-c.again:
		return true
	default:
		return false
	}
}
