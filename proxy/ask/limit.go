package ask

import (
	"context"
	"sync"
	"time"
)

// Limit ends a context after some time, not counting the time that people take
// to answer.
type Limit struct {
	mu    sync.Mutex
	timer *time.Timer // nil if there is no limit
	until time.Time
	left  time.Duration // time left while paused
	holds int           // number of holds that pause it
	over  bool
}

// WithLimit returns a context that ends with cause after d, or never if d is 0.
// The clock is paused while a person is asked. The caller must call stop to
// release resources.
func WithLimit(ctx context.Context, d time.Duration, cause error) (limited context.Context, limit *Limit, stop func()) {
	limited, cancel := context.WithCancelCause(ctx)
	limit = &Limit{}
	if d > 0 {
		limit.until = time.Now().Add(d)
		limit.timer = time.AfterFunc(d, func() { cancel(cause) })
		Person.add(limit)
	}
	return context.WithValue(limited, limitKey{}, limit), limit, func() {
		Person.remove(limit)
		limit.Hold()
		cancel(context.Canceled)
	}
}

// limitKey is the context key of a Limit.
type limitKey struct{}

// Hold pauses the limit that ctx is under, if any.
func Hold(ctx context.Context) (release func()) {
	if l, ok := ctx.Value(limitKey{}).(*Limit); ok {
		return l.Hold()
	}
	return func() {}
}

// Hold pauses the clock until release is called. There may be several holds at
// a time.
func (l *Limit) Hold() (release func()) {
	if l.timer == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds++; l.holds == 1 {
		l.left = time.Until(l.until)
		l.over = !l.timer.Stop()
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.holds--; l.holds == 0 && !l.over {
			l.until = time.Now().Add(l.left)
			l.timer.Reset(l.left)
		}
	})
}
