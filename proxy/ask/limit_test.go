package ask

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTimeLimitStands: the clock stands while a person is asked, for all who
// wait, and goes on afterwards.
func TestTimeLimitStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func(before *asking) { Person = before }(Person)
		Person = newAsking()
		cause := errors.New("over")
		one, limit, stop := WithLimit(t.Context(), 10*time.Second, cause)
		defer stop()
		time.Sleep(6 * time.Second)
		_, done := Person.Ask(t.Context())
		two, _, stopTwo := WithLimit(t.Context(), 10*time.Second, cause)
		defer stopTwo()
		release := limit.Hold() // by something else
		time.Sleep(time.Minute)
		done()
		time.Sleep(5 * time.Second)
		if one.Err() != nil || two.Err() != nil {
			t.Error("it ran")
		}
		release()
		time.Sleep(3 * time.Second)
		if one.Err() != nil {
			t.Error("it ran meanwhile")
		}
		time.Sleep(2 * time.Second)
		if context.Cause(one) != cause {
			t.Error("it does not go on")
		}
		time.Sleep(time.Second)
		if context.Cause(two) != cause {
			t.Error("the other does not go on")
		}
	})
}
