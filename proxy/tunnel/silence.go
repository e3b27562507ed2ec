package tunnel

import (
	"errors"
	"time"
)

// Handling of sessions whose agent is silent: it acknowledges nothing although
// the link is up. The machine may have been rebooted, so that its agent no longer
// knows the session, or it may be busy, or the network behind AWS slow.
//
// The stream asks the service, and ends the session if the service no longer has
// it. Otherwise only the resume timeout ends the session of a single stream
// (proxy, shell, exec, plugin): the stream cannot be moved, and a session that is
// merely slow must not be lost.
//
// A tunnel can do more. After silentAfter, new connections use another session;
// when the silence is reported, one is started for that. If it comes up, the
// machine is there and has an agent that answers. If the old session is still
// silent when both have had their time (see hopeless), its connections are given
// up, so that programs reconnect instead of waiting for data that will not come.
//
// In one case of silence the machine and the connections are fine: a program on
// the machine does not read. The agent acknowledges what it has written, so it
// stops acknowledging when the buffers are full, with a window of messages
// pending. If only few messages are pending, this is not the cause.
const (
	silentAfter = 5 * time.Second

	replacedAfter = 30 * time.Second // with few messages pending
	blockedAfter  = 2 * time.Minute  // with more
	fewPending    = 16

	// provenAfter is how long another session must have been up to prove that
	// the machine answers.
	provenAfter = 15 * time.Second

	silenceLook = 5 * time.Second // interval between checks of a silence
)

// ErrReplaced means that a session and its connections were given up in favor
// of another session.
var ErrReplaced = errors.New("the machine no longer answers in this session, but does in another: it was probably restarted")

// silent reports whether the session's agent is not answering.
func (l *lane) silent() bool {
	lasted, _, _ := l.port.Silence()
	return lasted > silentAfter
}

// silent reports whether none of the sessions' agents answers. t.mu is held.
func (t *Tunnel) silent() bool {
	for _, l := range t.lanes {
		if !l.silent() {
			return false
		}
	}
	return true
}

// during watches a session until alarm fires or the session or the tunnel has
// ended; in the latter case it returns true.
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

// hopeless reports whether to stop waiting for the end of a silence, given how
// long another session, started during the silence, has been up and answering.
func hopeless(lasted time.Duration, pending int, up time.Duration) bool {
	patience := replacedAfter
	if pending > fewPending {
		patience = blockedAfter
	}
	return lasted > patience && up > provenAfter
}

// outlived reports whether to give up a session whose agent is silent. It
// starts another session if none answers.
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
