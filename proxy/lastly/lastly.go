// Package lastly cleans up when a process is terminated early: it restores a
// terminal from raw mode, ends a session, removes a socket. Normally the owner
// of such a resource cleans up by itself. Here it registers how to clean up in
// case it does not get to that.
package lastly

import (
	"context"
	"sync"
)

var (
	mu   sync.Mutex
	todo = make(map[*func(context.Context)]struct{})
)

// Add registers f to be called by Run, unless forget is called first. Run calls
// f in its own goroutine while the rest of the process continues; f should
// return when its context ends. forget may be called more than once, and from
// f.
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

// Run calls all registered functions concurrently, and returns when they have
// returned or ctx has ended, whichever comes first. The process should then
// exit.
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
