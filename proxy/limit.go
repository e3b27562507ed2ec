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
}

// withTimeLimit returns a context that ends with cause after d, or never if d
// is 0. stop frees it.
func withTimeLimit(ctx context.Context, d time.Duration, cause error) (limited context.Context, limit *timeLimit, stop func()) {
	limited, cancel := context.WithCancelCause(ctx)
	limit = &timeLimit{}
	if d > 0 {
		limit.until = time.Now().Add(d)
		limit.timer = time.AfterFunc(d, func() { cancel(cause) })
	}
	return limited, limit, func() {
		limit.hold()
		cancel(context.Canceled)
	}
}

// hold stops the clock until release is called.
func (l *timeLimit) hold() (release func()) {
	if l.timer == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	left := time.Until(l.until)
	if !l.timer.Stop() {
		return func() {}
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.until = time.Now().Add(left)
		l.timer.Reset(left)
	}
}
