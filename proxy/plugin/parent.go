package plugin

import (
	"context"
	"errors"
	"time"
)

// parentLook is the interval between checks that the parent process still
// exists. Linux's parent death signal is no alternative: it is also sent when
// merely the parent's thread ends. Other systems have no such signal.
const parentLook = 500 * time.Millisecond

var errParentGone = errors.New("the program that started this one has ended")

// withParent returns a context that also ends when the parent process does. A
// process without a parent is not affected.
func withParent(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() { cancel(nil) }
	gone, done := watchParent()
	if gone == nil {
		return ctx, stop
	}
	go func() {
		defer done()
		tick := time.NewTicker(parentLook)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if gone() {
					cancel(errParentGone)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, stop
}
