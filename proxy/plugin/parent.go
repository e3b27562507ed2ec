package plugin

import (
	"context"
	"errors"
	"time"
)

// parentLook is how often is looked whether the process that started us is
// there. The signal that Linux sends at a parent's death comes at the end of a
// thread of it as well, which is none, and other systems have none.
const parentLook = 500 * time.Millisecond

var errParentGone = errors.New("the program that started this one has ended")

// withParent returns a context that ends with the process that has started this
// one, too. One that is nobody's child lives for itself.
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
