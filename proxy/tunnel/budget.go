package tunnel

import (
	"errors"
	"sync/atomic"
)

// ErrManySessions means that the maximum number of sessions is reached and all
// are in use.
var ErrManySessions = errors.New("too many sessions")

// budget limits the total number of sessions of several tunnels. A nil budget
// is no limit. All methods may be called concurrently.
type budget struct {
	most int64
	used atomic.Int64
}

func (b *budget) take() bool {
	if b != nil && b.used.Add(1) > b.most {
		b.used.Add(-1)
		return false
	}
	return true
}

func (b *budget) give() {
	if b != nil {
		b.used.Add(-1)
	}
}

func (b *budget) full() bool { return b != nil && b.used.Load() >= b.most }
