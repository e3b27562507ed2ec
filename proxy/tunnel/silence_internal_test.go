package tunnel

import (
	"testing"
	"time"
)

// TestHopeless: what may only be held up by a program that does not read is given
// more time than what can only be lost, and without proof nothing is given up.
func TestHopeless(t *testing.T) {
	for _, tt := range []struct {
		lasted  time.Duration
		pending int
		up      time.Duration
		want    bool
	}{
		{20 * time.Second, 1, 16 * time.Second, false},
		{40 * time.Second, 1, 10 * time.Second, false},
		{40 * time.Second, 1, 16 * time.Second, true},
		{40 * time.Second, 500, 16 * time.Second, false},
		{110 * time.Second, 500, 90 * time.Second, false},
		{130 * time.Second, 500, 90 * time.Second, true},
	} {
		if got := hopeless(tt.lasted, tt.pending, tt.up); got != tt.want {
			t.Errorf("silent for %v with %d pending, another up for %v: %v", tt.lasted, tt.pending, tt.up, got)
		}
	}
}
