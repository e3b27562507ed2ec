package ssmproto

import (
	"context"
	"errors"
	"time"
)

// Bounds of the steps of connecting: of the first call of Resume in an outage,
// which each one after may take longer by, up to dialTimeout; and of the
// WebSocket's upgrade once there is a connection, for which see dialNet. What
// takes longer than staleAge may be given up to be made again.
const (
	resumeTimeout  = 5 * time.Second
	upgradeTimeout = 5 * time.Second
	staleAge       = time.Second
)

// errStale says that a step was given up, because it hangs and would not if it
// were begun now.
var errStale = errors.New("no answer")

// attempt is a step of connecting that is under way: a call of Resume, or the
// opening of a link.
type attempt struct {
	ctx    context.Context
	stop   context.CancelFunc
	cancel context.CancelCauseFunc
	began  time.Time // by the wall clock, so that it ages while the machine sleeps
	// patience is how old it must be to be given up. It doubles with every one
	// that was, so that what needs its time has it in the end, whatever happens
	// all the while.
	patience time.Duration
}

// try begins a step, which takes no longer than limit. The caller says by tried
// that it is over.
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

// giveUp gives the step up when it has come to an age and is not over by then.
func (a *attempt) giveUp(age time.Duration) {
	timer := time.AfterFunc(age-time.Now().Round(0).Sub(a.began), func() { a.cancel(errStale) })
	context.AfterFunc(a.ctx, func() { timer.Stop() })
}

// connected takes in that beside a call of Resume a connection to where the data
// channel was has been made, and took so long. The call needs one round trip
// more. If it takes far longer, it hangs: it began when the network was away, or
// goes over a connection that was kept from before.
func (a *attempt) connected(took time.Duration) { a.giveUp(max(a.patience, 3*took)) }
