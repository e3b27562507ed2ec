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
	// Waits after accepting a connection failed, for example because the
	// process ran out of descriptors. Open connections continue, and free
	// descriptors when they end.
	firstAcceptWait = 20 * time.Millisecond
	lastAcceptWait  = time.Second

	// acceptCalm is how long accepting must work before the problem counts as
	// over. It is longer than all waits, because a connection that could not be
	// accepted is still pending.
	acceptCalm = 5 * time.Second
)

// Acceptor accepts connections. It reports once that it cannot, no matter how
// many sockets and attempts fail, and once that it can again.
type Acceptor struct {
	Tell func(string)

	mu      sync.Mutex
	failing bool
	calm    *time.Timer // fires when the problem is over
	stopped bool
}

// Loop calls handle for each connection to a socket, until the socket is closed
// or ctx ends.
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
		a.Tell(fmt.Sprintf("no more connections can be accepted (%v); open ones continue", ShortOpError(err)))
	}
}

// over is called when nothing has failed for a while.
func (a *Acceptor) over() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing && !a.stopped {
		a.failing = false
		a.Tell("connections are accepted again")
	}
}

// Stop stops the reports.
func (a *Acceptor) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.calm != nil {
		a.calm.Stop()
	}
}
