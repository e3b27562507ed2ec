package forward

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeats: a line is told once a minute, and not any number of them.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r repeats
		for minute := range 2 {
			told := 0
			for range 10 {
				if r.isNew("refused") {
					told++
				}
			}
			for i := range 1000 {
				if r.isNew(fmt.Sprint(i)) {
					told++
				}
			}
			if told != maxLines {
				t.Errorf("minute %d: %d lines", minute, told)
			}
			time.Sleep(repeatTime)
		}
	})
}
