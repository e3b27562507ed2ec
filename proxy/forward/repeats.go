package forward

import (
	"sync"
	"time"
)

const (
	// repeatTime is how long a line is not repeated. A program that keeps
	// retrying would otherwise fill the screen.
	repeatTime = time.Minute

	// maxLines is the maximum number of different lines in that time.
	maxLines = 100
)

// repeats remembers recent lines. The zero value is ready to use, and its method
// may be called concurrently.
type repeats struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// isNew reports whether to print a line, and remembers it.
func (r *repeats) isNew(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for line, at := range r.told {
		if now.Sub(at) >= repeatTime {
			delete(r.told, line)
		}
	}
	if _, ok := r.told[line]; ok || len(r.told) >= maxLines {
		return false
	}
	if r.told == nil {
		r.told = make(map[string]time.Time)
	}
	r.told[line] = now
	return true
}
