package ssmproto

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// supervise gives the Conn one link after another until the Conn ends. Its
// goroutine and the network watcher's are the only ones that a Conn has without
// a link.
func (c *Conn) supervise(g Grant, early *link.HeadStart) {
	var o outage
	for {
		silent, second, err := c.serve(g, early, &o)
		early.Drop()
		if c.ctx.Err() != nil {
			second.Drop()
			return
		}
		c.log.Info("no link", "err", err)
		if o.began.IsZero() {
			o = o.next(silent)
		}
		if err = c.failed(&o, err); err == nil {
			g, early, err = c.resume(g.URL, second, &o)
		} else {
			second.Drop()
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// outage is the time from the end of a link until another has proved itself: if
// a link dies before that, the outage continues.
type outage struct {
	began    time.Time // zero: there is none
	asked    time.Time // when Resume was last called, in this outage or before
	attempts int
	refused  int // upgrades that were refused
	stale    int // attempts that were given up and made again
	flaps    int // outages in a row that began just after the previous one ended
}

// maxFlaps bounds what flaps add to the waits. Each link that proves itself is
// used, so a session whose links are cut again and again still makes progress,
// about six times a second.
const maxFlaps = 3

// next returns the outage that began at the given time, after o.
func (o *outage) next(began time.Time) outage {
	n := outage{began: began, asked: o.asked}
	if !o.asked.IsZero() && time.Since(o.asked) < maxWait {
		n.flaps = min(o.flaps+1, maxFlaps)
	}
	return n
}

// maxRefused is how many refused upgrades end the Conn in one outage; fewer are
// retried, as a token or credentials may have expired before the dial.
const maxRefused = 3

// final reports whether another link would fail with the same error.
func (c *Conn) final(err error, o *outage) bool {
	var (
		refused *UpgradeError
		via     *ProxyError
	)
	switch {
	case errors.Is(err, link.ErrTooLarge):
		return true // the message would be retransmitted
	case errors.As(err, &via):
		// In an established session the proxy belongs to a network that was
		// joined meanwhile, and another network may follow.
		return !c.isOpen() && via.Code < 500
	case errors.As(err, &refused) && refused.Foreign:
		return !c.isOpen() && (refused.Status < 500 || refused.Status == http.StatusNetworkAuthenticationRequired)
	case !errors.As(err, &refused), refused.Status >= 500,
		refused.Status == http.StatusRequestTimeout, refused.Status == http.StatusTooManyRequests:
		return false
	}
	o.refused++
	// On the first link a refusal means that a permission is missing.
	return !c.isOpen() || o.refused >= maxRefused
}

// failed records that an attempt failed. It returns the error that ends the
// Conn, or nil to go on.
func (c *Conn) failed(o *outage, err error) error {
	c.mu.Lock()
	c.cause = err
	c.mu.Unlock()
	if errors.Is(err, ErrSessionEnded) {
		return &GoneError{After: time.Since(o.began), Err: err}
	}
	if permanent(err) || c.final(err, o) {
		return err
	}
	if errors.Is(err, errStale) {
		o.stale++
		o.asked = time.Time{} // the attempt has taken long enough
	}
	if o.attempts == 0 {
		return nil // the link has just been lost
	}
	lasted := time.Since(o.began)
	// The limit is checked after an attempt, so that there is at least one even
	// if a laptop has slept all that time.
	if limit := c.cfg.ResumeTimeout; limit > 0 && lasted > limit {
		return &ResumeError{After: lasted, Err: err}
	}
	if c.cfg.OnOutage != nil {
		c.cfg.OnOutage(Outage{Err: err, Lasted: lasted})
	}
	return nil
}

// resume requests another grant until it gets one or the outage ends the Conn.
// Meanwhile it connects to the last link's endpoint, unless second is such a
// connection already.
func (c *Conn) resume(last string, second *link.HeadStart, o *outage) (Grant, *link.HeadStart, error) {
	defer func() { second.Drop() }()
	for {
		select {
		case <-time.After(o.wait()):
		case <-c.again:
		case <-c.ctx.Done():
			return Grant{}, nil, c.ctx.Err()
		}
		c.roamedSince() // forget changes before this attempt
		o.attempts++
		o.asked = time.Now()
		a := c.try(o, min(time.Duration(o.attempts)*resumeTimeout, link.DialTimeout))
		early := second
		second = nil
		if early == nil {
			early = link.StartDial(c.ctx, last, c.cfg.Transport, a.connected)
		} else {
			// The service can be reached. If the call hangs nevertheless, it
			// uses a connection from before.
			a.giveUp(a.patience)
		}
		g, err := c.resumeSession(a.ctx)
		if err = c.tried(a, err); err == nil {
			return g, early, nil
		}
		early.Drop()
		if c.ctx.Err() != nil {
			return Grant{}, nil, c.ctx.Err()
		}
		c.log.Info("resume failed", "err", err, "attempt", o.attempts)
		if err := c.failed(o, err); err != nil {
			return Grant{}, nil, err
		}
	}
}

// wait returns how long to wait before the next attempt. Part of it is random,
// so that many clients do not come back at once. It counts from the start of
// the last attempt, which may have hung for long enough. The first attempt of
// an outage is made at once, unless the previous outage has only just ended:
// links that prove themselves and then end at once make the waits longer, too.
func (o *outage) wait() time.Duration {
	d := firstWait
	if n := o.flaps + o.attempts; n > 0 {
		d = min(firstWait<<min(n-1, 10), maxWait)
		d = d/2 + rand.N(d/2)
	}
	return d - time.Since(o.asked)
}

// endOutage records that a link has proved itself.
func (c *Conn) endOutage(o *outage) {
	if o.began.IsZero() {
		return
	}
	lasted := time.Since(o.began)
	c.log.Info("link is back", "after", lasted)
	if c.cfg.OnOutage != nil {
		c.cfg.OnOutage(Outage{Lasted: lasted, Over: true})
	}
	*o = outage{asked: o.asked, flaps: o.flaps}
}

// serve runs one link until it ends. It reads on this goroutine and writes on
// another, which ends before serve returns. It returns when the link was lost,
// and a connection for another link if one has been made.
func (c *Conn) serve(g Grant, early *link.HeadStart, o *outage) (silent time.Time, second *link.HeadStart, err error) {
	a := c.try(o, link.DialTimeout+link.UpgradeTimeout)
	if c.roamedSince() {
		early.Drop() // its local address may be gone
		early = nil
	}
	r := link.Request{URL: g.URL, Header: g.Header, First: c.hello(g.Token)}
	l, err := link.Dial(a.ctx, r, c.cfg.Transport, early, c.wakeWriter)
	if err = c.tried(a, err); err != nil {
		return time.Now(), nil, err
	}
	c.log.Debug("data channel open", "address", l.RemoteAddr())
	c.watch(l, o)
	c.attach(l)
	// Closing the socket wakes a reader that waits for the network.
	stop := context.AfterFunc(c.ctx, l.Close)
	defer stop()
	written := make(chan error, 1)
	go func() {
		err := c.writeLoop(l)
		if err != nil && l.GivenUp() == nil {
			c.detach(l)
			l.Close()
		}
		written <- err
	}()
	err = c.readLoop(l)
	c.detach(l)
	c.wakeWriter()
	writeErr := <-written
	silent, second = l.End()
	return silent, second, cmp.Or(l.GivenUp(), writeErr, err)
}

// watch starts the watch of a link that may end the outage o.
func (c *Conn) watch(l *link.Link, o *outage) {
	l.Watch(c.ctx, link.Watch{
		Patience: c.cfg.pingAfter,
		Limit:    max(c.cfg.ResumeTimeout, 0),
		Go:       c.wg.Go,
		OnSilent: func(lasted time.Duration, over bool) {
			c.log.Info("the link is silent", "over", over, "for", lasted)
			if c.cfg.OnOutage == nil {
				return
			}
			o := Outage{Err: ErrDeadPeer, Lasted: lasted}
			if over {
				o = Outage{Lasted: lasted, Over: true}
			}
			c.cfg.OnOutage(o)
		},
		OnSettled: func() { c.endOutage(o) },
	})
}

func (c *Conn) attach(l *link.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.linked = l, true
	c.answered = c.now()
	c.gapBegan, c.gapSince = 0, 0
	c.s.Relink()
}

func (c *Conn) detach(l *link.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linked = false
	c.cancelAsk()
	if c.over {
		c.failLocked(ErrGap) // what is missing was lost with the link
	}
	c.drained.Broadcast()
}

func (c *Conn) readLoop(l *link.Link) error {
	for c.waitForRoom(l) {
		if err := l.Fill(); err != nil {
			return err
		}
		err := c.received(l)
		l.Alive()
		if err != nil {
			return err
		}
	}
	return nil
}

// batchFrames is the maximum number of frames that are written together.
const batchFrames = 64

// writeLoop writes the core's frames, and sleeps until there may be more.
func (c *Conn) writeLoop(l *link.Link) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if !c.linked {
			c.mu.Unlock()
			return nil
		}
		now := c.now()
		if c.stalled {
			c.s.Postpone(now)
		} else {
			c.s.Tick(now)
		}
		c.checkAgent(now)
		for range batchFrames {
			frame := c.s.Poll(now)
			if frame == nil {
				break
			}
			l.Queue(frame)
		}
		due := c.s.Deadline()
		if c.s.Room() > 0 {
			c.writable.Signal()
		}
		sent, tell := c.s.Sent(), c.lingering > 0
		c.mu.Unlock()
		if l.Pending() {
			if err := l.Write(); err != nil {
				return err
			}
			if tell {
				c.mu.Lock()
				c.written = sent
				c.drained.Broadcast()
				c.mu.Unlock()
			}
			continue
		}
		wait := time.Hour
		if due > 0 {
			wait = max(due-now, 0)
		}
		timer.Reset(wait)
		select {
		case <-c.wake:
		case <-timer.C:
		}
	}
}
