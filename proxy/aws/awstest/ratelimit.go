package awstest

import (
	"slices"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// RateLimit is a limit as the services have it, for [ssmtest.Server.OnAPI]: of each of
// the operations, or of every one if none is named, burst calls at once and
// perSecond after that. What is beyond gets [Throttling], and costs nothing.
func RateLimit(perSecond float64, burst int, operations ...string) func(operation string) *ssmtest.APIError {
	type bucket struct {
		tokens float64
		at     time.Time
	}
	var mu sync.Mutex
	buckets := make(map[string]*bucket)
	return func(operation string) *ssmtest.APIError {
		if len(operations) > 0 && !slices.Contains(operations, operation) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		b := buckets[operation]
		if b == nil {
			b = &bucket{float64(burst), now}
			buckets[operation] = b
		}
		b.tokens = min(b.tokens+perSecond*now.Sub(b.at).Seconds(), float64(burst))
		b.at = now
		if b.tokens < 1 {
			return Throttling(operation)
		}
		b.tokens--
		return nil
	}
}
