package tunnel

import (
	"errors"
	"time"
)

// What becomes of a session whose agent is silent: it acknowledges nothing,
// though the link is up. The machine may have been rebooted, and then its agent
// knows nothing of the session; or it is busy, or the network behind AWS slow.
//
// The stream asks the service, and ends the session if that has it no longer. While
// the service has it, only the resume timeout ends the session of a single stream
// (proxy, shell, exec, plugin): it cannot be moved, and one that is only late must
// not be lost.
//
// A tunnel can do more. After silentAfter connections to come go by another
// session, and when the silence is told one is started for that. Where this works,
// the machine is there, with an agent that answers. If the old session is still
// silent when both have had their time, its connections are given up: programs
// connect again, and wait for nothing that does not come.
//
// One cause of silence remains in which the machine is there and the connections
// are good: a program there that does not read. The agent acknowledges what it
// has written, so it stops when the buffers are full, with a window of messages
// under way. Few pending messages are no such thing.
const (
	silentAfter = 5 * time.Second

	replacedAfter = 30 * time.Second // with few messages pending
	blockedAfter  = 2 * time.Minute  // with more
	fewPending    = 16

	// provenAfter is how long another session must be up to prove anything.
	provenAfter = 15 * time.Second

	silenceLook = 5 * time.Second // between two looks at a silence
)

// ErrReplaced says that a session was given up for another one, with the
// connections over it.
var ErrReplaced = errors.New("the machine no longer answers in this session, but does in another: it was probably restarted")

// silent says whether the session's agent does not answer.
func (l *lane) silent() bool {
	lasted, _, _ := l.port.Silence()
	return lasted > silentAfter
}

// silent says whether no session's agent answers. t.mu is held.
func (t *Tunnel) silent() bool {
	for _, l := range t.lanes {
		if !l.silent() {
			return false
		}
	}
	return true
}

// during stays with a session until alarm rings or, which it says, the session or
// the tunnel has ended.
func (t *Tunnel) during(l *lane, alarm <-chan time.Time) (ended bool) {
	var look <-chan time.Time // while the agent is silent
	for {
		lasted, pending, news := l.port.Silence()
		switch {
		case lasted > silentAfter && t.outlived(l, lasted, pending):
			if t.Replaced != nil {
				t.Replaced()
			}
			l.port.Fail(ErrReplaced)
			return true
		case lasted > silentAfter:
			look = time.After(silenceLook)
		default:
			look = nil
		}
		select {
		case <-alarm:
			return false
		case <-l.port.Done():
			return true
		case <-t.ctx.Done():
			return true
		case <-news:
		case <-look:
		}
	}
}

// hopeless says whether a silence is not to be waited out any more, if another
// session, that answers, was started in it and is up for a time.
func hopeless(lasted time.Duration, pending int, up time.Duration) bool {
	patience := replacedAfter
	if pending > fewPending {
		patience = blockedAfter
	}
	return lasted > patience && up > provenAfter
}

// outlived says whether a session whose agent is silent is to be given up. It
// starts another session if there is none that answers.
func (t *Tunnel) outlived(l *lane, lasted time.Duration, pending int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	other := false
	for _, m := range t.lanes {
		if m == l || m.silent() {
			continue
		}
		if age := time.Since(m.born); age < lasted {
			other = true
			if hopeless(lasted, pending, age) {
				return true
			}
		}
	}
	if !other && t.starting == 0 && len(t.lanes) < maxSessions && !time.Now().Before(t.retryAt) {
		t.Log("the agent is silent; starting another session")
		t.addExtra()
	}
	return false
}
