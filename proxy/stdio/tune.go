package stdio

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// TuneMemory tunes the garbage collector for a process that only pipes one
// stream. It has little live data and produces little garbage, so with the
// default settings most of its memory would be room for garbage.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(30)
	}
}

// ReleaseStart returns memory to the system shortly after the start: most of
// what the SDK allocated is garbage by then.
func ReleaseStart() { time.AfterFunc(time.Second, debug.FreeOSMemory) }

// tuneScheduler limits a process that only pipes one stream to one processor. A
// message passes through three goroutines, each of which works for a few
// microseconds. Waking another thread for that costs more than the work. One
// processor can carry several times the service's rate. No system call may
// block that processor, so tuneScheduler must not be used with a stdin that
// blocks.
func tuneScheduler() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}
