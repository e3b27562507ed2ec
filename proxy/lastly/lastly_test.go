package lastly

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int32
		var forget [3]func()
		for i := range forget {
			forget[i] = Add(func(ctx context.Context) {
				<-ctx.Done() // nobody's end keeps another's from beginning
				done.Add(1)
				forget[i]()
			})
		}
		forget[0]()
		forget[0]()
		forgetStuck := Add(func(context.Context) { time.Sleep(time.Hour) })
		defer forgetStuck()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		Run(ctx)
		synctest.Wait()
		if took := time.Since(began); took != time.Second || done.Load() != 2 {
			t.Errorf("%d were called, in %v", done.Load(), took)
		}
		forgetStuck()
		Run(t.Context()) // nothing is left to do
		if done.Load() != 2 {
			t.Error("what was done was done again")
		}
		time.Sleep(time.Hour) // for who is stuck
	})
}
