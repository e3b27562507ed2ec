package ssmproto

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// If an agent acknowledges nothing although the link is up, it is busy, behind
// a slow network, or gone: after its machine reboots, a new agent does not know
// the session, and nothing reports that. So the Conn asks the service whether
// it still has the session. If not, the Conn ends; otherwise it continues on
// the same link. It does not use the token that comes with the answer: another
// link leads to the same agent.
//
// silenceAfter is how long the agent must owe an acknowledgement before the
// Conn asks. Later questions are about a third further apart.
const silenceAfter = 15 * time.Second

// Silence describes a time in which the agent neither acknowledges nor sends
// anything, although the link is up.
type Silence struct {
	Lasted  time.Duration
	Pending int  // messages that are not acknowledged
	Over    bool // the agent has answered
}

// silence is the state of a silence. Conn.mu guards all fields except over.
type silence struct {
	over  chan struct{}      // closed when the agent answers
	began time.Duration      // when it began
	stop  context.CancelFunc // cancels a request to the service; nil: there is none
}

// Silence returns how long the agent has been silent, how many messages are not
// acknowledged, and a channel that is closed when a silence of 15 s or more
// begins or ends. lasted is 0 if no acknowledgement is awaited, or if there is
// no link.
func (c *Conn) Silence() (lasted time.Duration, pending int, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.silenceNow(c.now())
	return s.Lasted, s.Pending, c.silenceNews
}

// silenceNow is Silence with c.mu held.
func (c *Conn) silenceNow(now time.Duration) Silence {
	// The back-off shows that messages were retransmitted. The time alone does
	// not: some clocks go on while a laptop sleeps.
	if !c.linked || !c.waiting || c.stalled || c.s.Idle() || c.s.Timeouts() < 2 {
		return Silence{}
	}
	return Silence{Lasted: now - c.answered, Pending: c.s.Unacknowledged()}
}

// Fail ends the Conn with err, as if the connection had been lost. Close must
// still be called.
func (c *Conn) Fail(err error) { c.fail(err) }

// checkAgent checks how long the agent has not answered, and ends the Conn if
// that is too long. The link may be fine nevertheless: it ends at the service.
// c.mu is held.
func (c *Conn) checkAgent(now time.Duration) {
	waiting := !c.stalled && !c.s.Idle() && !c.link.Silent()
	if !waiting || !c.waiting {
		c.answered = now // the agent owes nothing, or only from now on
	}
	c.waiting = waiting
	s := c.silenceNow(now)
	if limit := c.cfg.ResumeTimeout; limit > 0 && s.Lasted > limit && c.s.Timeouts() >= 4 {
		c.failLocked(&SilenceError{After: s.Lasted})
		return
	}
	if c.silence == nil && s.Lasted >= c.cfg.silenceAfter && c.err == nil && c.isOpen() {
		begun := &silence{over: make(chan struct{}), began: c.answered}
		c.silence = begun
		c.tellSilence()
		c.wg.Go(func() { c.awaitAgent(begun) })
	}
}

// agentAnswered records that the agent has answered. c.mu is held.
func (c *Conn) agentAnswered(now time.Duration) {
	c.answered = now
	if c.silence != nil {
		close(c.silence.over)
		c.silence = nil
		c.tellSilence()
	}
}

// tellSilence wakes callers that wait for a silence to begin or end. c.mu is
// held.
func (c *Conn) tellSilence() {
	close(c.silenceNews)
	c.silenceNews = make(chan struct{})
}

// awaitAgent waits until a silence is over, and meanwhile asks the service for the
// session.
func (c *Conn) awaitAgent(s *silence) {
	tell := func(over bool) {
		lasted := c.now() - s.began
		c.log.Info("the agent is silent", "for", lasted, "over", over)
		if c.cfg.OnSilence != nil {
			c.cfg.OnSilence(Silence{Lasted: lasted, Over: over})
		}
	}
	tell(false)
	ask := time.NewTimer(0)
	defer ask.Stop()
	for {
		select {
		case <-s.over:
			tell(true)
			return
		case <-c.ctx.Done():
			return
		case <-ask.C:
		}
		err := c.askSession(s)
		switch {
		case errors.Is(err, ErrSessionEnded):
			c.fail(&GoneError{After: c.now() - s.began, Silent: true, Err: err})
			return
		case permanent(err): // asking again would fail again
		default:
			ask.Reset(c.cfg.silenceAfter + rand.N(c.cfg.silenceAfter*2/3))
		}
	}
}

// askSession asks the service for the session if there is a link; if there is
// none, the supervisor does so anyway.
func (c *Conn) askSession(s *silence) error {
	c.mu.Lock()
	if !c.linked || c.err != nil {
		c.mu.Unlock()
		return nil
	}
	ctx, stop := context.WithTimeout(c.ctx, resumeTimeout)
	s.stop = stop
	c.mu.Unlock()
	defer stop()
	_, err := c.resumeSession(ctx)
	c.log.Debug("asked for the session", "err", err)
	return err
}

// resumeSession calls the session's Resume from one goroutine at a time.
func (c *Conn) resumeSession(ctx context.Context) (Grant, error) {
	c.resuming.Lock()
	defer c.resuming.Unlock()
	if ctx.Err() != nil {
		return Grant{}, ctx.Err()
	}
	return c.session.Resume(ctx)
}

// cancelAsk cancels a request that askSession is making, as the link is lost.
// c.mu is held.
func (c *Conn) cancelAsk() {
	if c.silence != nil && c.silence.stop != nil {
		c.silence.stop()
	}
}
