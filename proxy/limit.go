package proxy

import (
	"context"
	"sync"
	"time"
)

// timeLimit ends a context after some time, of which what people take to
// answer is not counted.
type timeLimit struct {
	mu    sync.Mutex
	timer *time.Timer // nil: there is no limit
	until time.Time
	left  time.Duration // while the clock stands
	holds int           // that keep it from running
	over  bool
}

// withTimeLimit returns a context that ends with cause after d, or never if d
// is 0. The clock stands while a person is asked. stop frees it.
func withTimeLimit(ctx context.Context, d time.Duration, cause error) (limited context.Context, limit *timeLimit, stop func()) {
	limited, cancel := context.WithCancelCause(ctx)
	limit = &timeLimit{}
	if d > 0 {
		limit.until = time.Now().Add(d)
		limit.timer = time.AfterFunc(d, func() { cancel(cause) })
		person.add(limit)
	}
	return context.WithValue(limited, limitKey{}, limit), limit, func() {
		person.remove(limit)
		limit.hold()
		cancel(context.Canceled)
	}
}

// limitKey is that of the timeLimit that a context is under.
type limitKey struct{}

// holdLimit stops the clock of the limit that ctx is under, if there is one.
func holdLimit(ctx context.Context) (release func()) {
	if l, ok := ctx.Value(limitKey{}).(*timeLimit); ok {
		return l.hold()
	}
	return func() {}
}

// hold stops the clock until release is called. There may be several holds at a
// time.
func (l *timeLimit) hold() (release func()) {
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
