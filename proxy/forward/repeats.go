package forward

import (
	"sync"
	"time"
)

const (
	// repeatTime is for how long a line is not told again: a program that goes on
	// trying would fill the screen.
	repeatTime = time.Minute

	// maxLines is how many different lines there are at most in that time.
	maxLines = 100
)

// repeats knows what was told lately. The zero value is ready to use, and its
// method may be called concurrently.
type repeats struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// isNew says whether a line is to be told, and notes it.
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
