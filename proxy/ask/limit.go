package ask

import (
	"context"
	"sync"
	"time"
)

// Limit ends a context after some time, of which what people take to
// answer is not counted.
type Limit struct {
	mu    sync.Mutex
	timer *time.Timer // nil: there is no limit
	until time.Time
	left  time.Duration // while the clock stands
	holds int           // that keep it from running
	over  bool
}

// WithLimit returns a context that ends with cause after d, or never if d
// is 0. The clock stands while a person is asked. stop frees it.
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

// limitKey is that of the Limit that a context is under.
type limitKey struct{}

// Hold stops the clock of the limit that ctx is under, if there is one.
func Hold(ctx context.Context) (release func()) {
	if l, ok := ctx.Value(limitKey{}).(*Limit); ok {
		return l.Hold()
	}
	return func() {}
}

// Hold stops the clock until release is called. There may be several holds at a
// time.
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
