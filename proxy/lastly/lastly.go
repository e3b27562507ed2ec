// Package lastly puts right what a process would leave behind that is ended in
// the middle of things: a terminal in raw mode, a session, a socket. Whoever has
// such a thing puts it right itself when all goes well. Here it says how others
// can do that, should it not get there.
package lastly

import (
	"context"
	"sync"
)

var (
	mu   sync.Mutex
	todo = make(map[*func(context.Context)]struct{})
)

// Add has f called by Run, unless it is forgotten before. Run calls f from a
// goroutine of its own, while the rest of the process goes on; f should end with
// its context. forget may be called more than once, and from f.
func Add(f func(context.Context)) (forget func()) {
	mu.Lock()
	defer mu.Unlock()
	todo[&f] = struct{}{}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		delete(todo, &f)
	}
}

// Run calls, at the same time, all that has been added, and returns when that has
// been done or ctx has ended, whatever comes first. The process is to end then.
func Run(ctx context.Context) {
	var all sync.WaitGroup
	mu.Lock()
	for f := range todo {
		all.Go(func() { (*f)(ctx) })
	}
	mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
