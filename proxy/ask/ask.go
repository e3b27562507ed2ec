package ask

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Time is how long a person has to answer: to find a telephone, to log in
// with a browser.
const Time = 10 * time.Minute

// Person is who sits at the terminal. A process has one, so there is one of it:
// whoever asks has the terminal alone, and meanwhile no limit of time runs.
var Person = NewAsking()

// NewAsking returns an Asking of its own, for a test.
func NewAsking() *Asking {
	return &Asking{turn: make(chan struct{}, 1), limits: make(map[*Limit]func())}
}

// Asking gives whoever asks the terminal, one after the other. Its methods may be
// called concurrently.
type Asking struct {
	turn chan struct{} // holds one while a person is asked

	mu     sync.Mutex
	now    bool
	limits map[*Limit]func() // with what releases their holds
}

// Ask waits for the terminal to be free and returns a context for the question.
// It ends with life, or when a person has had the time for an answer. The
// caller calls done in the end.
func (a *Asking) Ask(life context.Context) (ctx context.Context, done func()) {
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

// Wait returns once nobody is asked any more, so that the terminal is as it was
// before. It does not wait for long: the question may be another's.
func (a *Asking) Wait() {
	select {
	case a.turn <- struct{}{}:
		<-a.turn
	case <-time.After(1500 * time.Millisecond):
	}
}

func (a *Asking) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = true
	for l := range a.limits {
		a.limits[l] = l.Hold()
	}
}

func (a *Asking) release() {
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

// add makes l stand while a person is asked.
func (a *Asking) add(l *Limit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits[l] = nil
	if a.now {
		a.limits[l] = l.Hold()
	}
}

func (a *Asking) remove(l *Limit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.limits, l)
}

// ChildInput is what a program that we start gets as its stdin, since ours is
// the stream or belongs to whoever started us: the terminal, or nothing where
// there is none. It is the null device too where we run in the background: a
// read from the terminal would stop us, and the ssh that we serve.
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
