package ssmproto

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// An agent that acknowledges nothing of what it is sent, over a link that is
// up, is busy, or behind a slow network, or gone: after a reboot of its machine
// a new one knows nothing of the session, and nobody tells. So the service is
// asked whether it still has the session. If it has not, that is the end; else
// the Conn goes on with the link that it has. The token that comes with the
// answer is not used: another link leads to the same agent.
//
// silenceAfter is how long what was sent is unanswered by then. The questions
// that follow the first are a third further apart, more or less.
const silenceAfter = 15 * time.Second

// Silence describes a time in which the agent acknowledges nothing of what it
// is sent, and sends nothing, though the link is up.
type Silence struct {
	Lasted  time.Duration
	Pending int  // messages that wait for an acknowledgement
	Over    bool // the agent has answered
}

// silence is the state of one. All but over is guarded by Conn.mu.
type silence struct {
	over  chan struct{}      // closed when the agent answers
	began time.Duration      // since when it has not
	stop  context.CancelFunc // ends a question that is under way; nil: there is none
}

// Silence returns how long the agent has been silent by now, how many messages
// wait for an acknowledgement, and a channel that is closed when a silence of 15 s
// or more begins or ends. lasted is 0 when nothing is waited for, or while there
// is no link.
func (c *Conn) Silence() (lasted time.Duration, pending int, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.silenceNow(c.now())
	return s.Lasted, s.Pending, c.silenceNews
}

// silenceNow is Silence with c.mu held.
func (c *Conn) silenceNow(now time.Duration) Silence {
	// A laptop that slept has not asked in vain: some clocks go on meanwhile.
	if !c.linked || !c.waiting || c.stalled || c.s.out.idle() || c.s.out.backoff < 2 {
		return Silence{}
	}
	return Silence{Lasted: now - c.answered, Pending: int(c.s.out.end - c.s.out.una)}
}

// Fail ends the Conn with err, as if it had been lost. Close must be called all
// the same.
func (c *Conn) Fail(err error) { c.fail(err) }

// checkAgent looks at how long the agent has not answered, and ends the Conn if
// that is too long. The link can be fine all the while: it ends at the service.
// c.mu is held.
func (c *Conn) checkAgent(now time.Duration) {
	waiting := !c.stalled && !c.s.out.idle() && !c.link.watch.silent()
	if !waiting || !c.waiting {
		c.answered = now // what it is to answer has only now been sent
	}
	c.waiting = waiting
	s := c.silenceNow(now)
	if limit := c.cfg.ResumeTimeout; limit > 0 && s.Lasted > limit && c.s.out.backoff >= 4 {
		c.failLocked(&SilenceError{After: s.Lasted})
		return
	}
	if c.silence == nil && s.Lasted >= c.cfg.silenceAfter && c.err == nil && c.isOpen() {
		begun := &silence{over: make(chan struct{}), began: c.answered}
		c.silence = begun
		c.tellSilence()
		c.wg.Go(func() { c.outwait(begun) })
	}
}

// answers takes in that the agent has. c.mu is held.
func (c *Conn) answers(now time.Duration) {
	c.answered = now
	if c.silence != nil {
		close(c.silence.over)
		c.silence = nil
		c.tellSilence()
	}
}

// tellSilence wakes those who wait for news of it. c.mu is held.
func (c *Conn) tellSilence() {
	close(c.silenceNews)
	c.silenceNews = make(chan struct{})
}

// outwait stays with a silence until it is over, and asks the service meanwhile.
func (c *Conn) outwait(s *silence) {
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
		case permanent(err): // asking again would not help
		default:
			ask.Reset(c.cfg.silenceAfter + rand.N(c.cfg.silenceAfter*2/3))
		}
	}
}

// askSession asks the service for the session, if there is a link: otherwise the
// supervisor does.
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

// resumeSession is the session's Resume, called by one goroutine at a time.
func (c *Conn) resumeSession(ctx context.Context) (Grant, error) {
	c.resuming.Lock()
	defer c.resuming.Unlock()
	if ctx.Err() != nil {
		return Grant{}, ctx.Err()
	}
	return c.session.Resume(ctx)
}

// unlinked takes in that there is no link any more. c.mu is held.
func (c *Conn) unlinked() {
	if c.silence != nil && c.silence.stop != nil {
		c.silence.stop()
	}
}
