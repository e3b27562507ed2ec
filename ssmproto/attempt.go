package ssmproto

import (
	"context"
	"errors"
	"time"
)

// Bounds of the steps of connecting. resumeTimeout bounds the first call of
// Resume in an outage, and each later call may take that much longer, up to
// link.DialTimeout. A step that takes longer than staleAge may be given up and
// started again.
const (
	resumeTimeout = 5 * time.Second
	staleAge      = time.Second
)

// errStale means that a step was given up because it hangs and would probably
// succeed if it were started now.
var errStale = errors.New("no answer")

// attempt is a step of connecting that is under way: a call of Resume, or the
// opening of a link.
type attempt struct {
	ctx    context.Context
	stop   context.CancelFunc
	cancel context.CancelCauseFunc
	began  time.Time // by the wall clock, so that it ages while the machine sleeps
	// patience is how old the step must be to be given up. It doubles with
	// every step that was, so that one that is merely slow has enough time in
	// the end, however often the network changes meanwhile.
	patience time.Duration
}

// try starts a step that may take up to limit. The caller must call tried when
// the step is over.
func (c *Conn) try(o *outage, limit time.Duration) *attempt {
	a := &attempt{began: time.Now().Round(0), patience: staleAge << min(o.stale, 10)}
	a.ctx, a.cancel = context.WithCancelCause(c.ctx)
	a.ctx, a.stop = context.WithTimeout(a.ctx, limit)
	c.attempt.Store(a)
	return a
}

// tried ends a step and returns how it ended: err, or errStale.
func (c *Conn) tried(a *attempt, err error) error {
	if err != nil && context.Cause(a.ctx) == errStale {
		err = errStale
	}
	c.attempt.Store(nil)
	a.stop()
	a.cancel(nil)
	return err
}

// giveUp gives the step up if it is not over by the given age.
func (a *attempt) giveUp(age time.Duration) {
	timer := time.AfterFunc(age-time.Now().Round(0).Sub(a.began), func() { a.cancel(errStale) })
	context.AfterFunc(a.ctx, func() { timer.Stop() })
}

// connected records that, during a call of Resume, a connection to the previous
// data channel's endpoint was made, and how long that took. The call needs one
// round trip more. If it takes far longer, it hangs: it started when the
// network was down, or uses a connection from before.
func (a *attempt) connected(took time.Duration) { a.giveUp(max(a.patience, 3*took)) }
