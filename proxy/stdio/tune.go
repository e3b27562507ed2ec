package stdio

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// TuneMemory sets the garbage collector for a process that is one stream: what
// is alive is small and what is thrown away is little, so that room for garbage
// would be most of the memory.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(30)
	}
}

// ReleaseStart gives back, a little later, what starting has taken: most of what
// the SDK needed is garbage then.
func ReleaseStart() { time.AfterFunc(time.Second, debug.FreeOSMemory) }

// tuneScheduler gives a process that is one stream one processor. A message
// goes through three goroutines, each of which works for some microseconds: to
// wake up another thread for it costs more than the work. One processor carries
// several times what the service does. It must be one that no system call
// blocks, so this is not for a stdin that does.
func tuneScheduler() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}
