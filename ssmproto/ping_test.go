package ssmproto_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestPing: an agent that answers is measured, one that does not is waited for
// no longer than the caller says, and after the end there is no answer.
func TestPing(t *testing.T) {
	r := newRig(t, ssmtest.Config{})
	near := r.dial(t, nil)
	check(t, exchange(near, r.far(t), []byte("up"), []byte("down")))
	took, err := near.Ping(t.Context())
	if err != nil || took <= 0 || took > 20*time.Second {
		t.Errorf("%v, %v", took, err)
	}
	r.StallAgent(true)
	limited, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if took, err := near.Ping(limited); !errors.Is(err, context.DeadlineExceeded) || took != 0 {
		t.Errorf("%v, %v from a stalled agent", took, err)
	}
	r.StallAgent(false)
	check(t, near.Close())
	if took, err := near.Ping(t.Context()); err == nil || took != 0 {
		t.Errorf("%v, %v after Close", took, err)
	}
}
