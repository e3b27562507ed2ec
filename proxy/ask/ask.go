package ask

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Time is how long a person has to answer: to find a phone, or to log in with a
// browser.
const Time = 10 * time.Minute

// Person is the person at the terminal. A process has one terminal, so there is
// one Person. One question at a time has the terminal, and all time limits are
// paused meanwhile.
var Person = newAsking()

// newAsking returns a separate Asking, for tests.
func newAsking() *asking {
	return &asking{turn: make(chan struct{}, 1), limits: make(map[*Limit]func())}
}

// asking gives the terminal to one question at a time. Its methods are safe for
// concurrent use.
type asking struct {
	turn chan struct{} // holds one value while a person is asked

	mu     sync.Mutex
	now    bool
	limits map[*Limit]func() // each with the function that releases its hold
}

// Ask waits until the terminal is free and returns a context for the question.
// The context ends with life, or after the time that a person has for an
// answer. The caller must call done.
func (a *asking) Ask(life context.Context) (ctx context.Context, done func()) {
	select {
	case a.turn <- struct{}{}:
	case <-life.Done():
		return life, func() {}
	}
	a.hold()
	ctx, stop := context.WithTimeoutCause(life, Time, fmt.Errorf("no answer within %v", Time))
	return ctx, func() {
		stop()
		a.release()
		<-a.turn
	}
}

// Wait returns once no question is pending, so that the terminal is in its
// original state. It does not wait for long: the question may belong to another
// caller.
func (a *asking) Wait() {
	select {
	case a.turn <- struct{}{}:
		<-a.turn
	case <-time.After(1500 * time.Millisecond):
	}
}

func (a *asking) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = true
	for l := range a.limits {
		a.limits[l] = l.Hold()
	}
}

func (a *asking) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = false
	for l, release := range a.limits {
		if release != nil {
			release()
		}
		a.limits[l] = nil
	}
}

// add pauses l while a person is asked.
func (a *asking) add(l *Limit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits[l] = nil
	if a.now {
		a.limits[l] = l.Hold()
	}
}

func (a *asking) remove(l *Limit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.limits, l)
}

// ChildInput returns the stdin for a program that we start. Our own stdin is
// the stream, or belongs to the program that started us. So ChildInput returns
// the terminal, or the null device if there is no terminal. It also returns the
// null device if we run in the background: a read from the terminal would stop
// us, and the ssh that we serve.
func ChildInput() (*os.File, error) {
	in, out, err := OpenTerminal()
	if err != nil {
		return os.Open(os.DevNull)
	}
	out.Close()
	if !inForeground(in) {
		in.Close()
		return os.Open(os.DevNull)
	}
	return in, nil
}
