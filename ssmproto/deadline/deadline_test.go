package deadline

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadlineEndsAWait when its time comes, also one that has been set anew
// meanwhile, and not before.
func TestDeadlineEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		d := Deadline{Cond: sync.NewCond(&mu)}
		set := func(after time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			d.Set(time.Now().Add(after))
		}
		set(time.Second)
		begun := time.Now()
		waited := make(chan time.Duration)
		go func() {
			mu.Lock()
			defer mu.Unlock()
			for !d.Passed() {
				d.Cond.Wait()
			}
			waited <- time.Since(begun)
		}()
		synctest.Wait()
		set(time.Minute)
		if got := <-waited; got != time.Minute {
			t.Errorf("it took %v", got)
		}
	})
}

func TestPassed(t *testing.T) {
	d := Deadline{Cond: sync.NewCond(new(sync.Mutex))}
	for _, test := range []struct {
		at   time.Time
		want bool
	}{
		{time.Time{}, false},
		{time.Unix(1, 0), true},
		{time.Now().Add(time.Hour), false},
		{time.Time{}, false}, // the hour is forgotten
	} {
		d.Cond.L.Lock()
		d.Set(test.at)
		if got := d.Passed(); got != test.want {
			t.Errorf("%v has passed: %v", test.at, got)
		}
		d.Cond.L.Unlock()
	}
}
