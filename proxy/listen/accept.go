package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// Waits after connections could not be taken in, as when descriptors are
	// used up: those that are open go on, and give some back when they end.
	firstAcceptWait = 20 * time.Millisecond
	lastAcceptWait  = time.Second

	// acceptCalm is how long nothing may fail before it is over. It is longer
	// than all waits: a connection that could not be taken in is still there.
	acceptCalm = 5 * time.Second
)

// Acceptor takes in connections. That it cannot is told once, whatever number of
// sockets and attempts have to do with it, and so is that it can again.
type Acceptor struct {
	Tell func(string)

	mu      sync.Mutex
	failing bool
	calm    *time.Timer // rings when it is over
	stopped bool
}

// Loop hands on what connects to a socket, until that is closed or ctx ends.
func (a *Acceptor) Loop(ctx context.Context, socket net.Listener, handle func(net.Conn)) {
	for wait := firstAcceptWait; ; {
		c, err := socket.Accept()
		switch {
		case err == nil:
			wait = firstAcceptWait
			handle(c)
			continue
		case errors.Is(err, net.ErrClosed), ctx.Err() != nil:
			return
		}
		a.fail(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, lastAcceptWait)
	}
}

func (a *Acceptor) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.stopped:
	case a.failing:
		a.calm.Reset(acceptCalm)
	default:
		a.failing = true
		a.calm = time.AfterFunc(acceptCalm, a.over)
		a.Tell(fmt.Sprintf("no more connections can be taken in (%v); those that are open go on", ShortOpError(err)))
	}
}

// over takes in that nothing has failed for a while.
func (a *Acceptor) over() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing && !a.stopped {
		a.failing = false
		a.Tell("connections are taken in again")
	}
}

// Stop ends the telling.
func (a *Acceptor) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.calm != nil {
		a.calm.Stop()
	}
}
