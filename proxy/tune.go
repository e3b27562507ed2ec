package proxy

import (
	"os"
	"runtime"
	"runtime/debug"
)

// tuneMemory sets the garbage collector for a process that is one stream: what
// is alive is small and what is thrown away is little, so that room for garbage
// would be most of the memory.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(30)
	}
}

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
