package machine

import (
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Use is what a session is for. It decides which advice to give when the
// session has ended.
type Use int

const (
	UseStream Use = iota // a stream, mostly for ssh
	UseForward
	UseShell
	UseCommand
)

// again returns what to do when a session has ended early.
func (u Use) again() string {
	switch u {
	case UseForward, UseShell:
		return "start it again"
	case UseCommand:
		return "check what the command has done before you run it again"
	}
	return "connect again"
}

// nextSession returns what to do after a session ended with err. It mentions
// keep-alives only after an idle timeout.
func (o *Options) nextSession(err error) string {
	again := o.Use.again()
	if reason, told := stream.Reason(err); !told || !isIdleReason(reason) {
		return again
	}
	switch {
	case o.Use == UseStream:
		return again + "; ServerAliveInterval keeps an idle ssh alive"
	case o.NoFlags: // there is no other way to keep it alive
		return again
	}
	return "--keepalive 5m keeps an idle session alive"
}

// isIdleReason reports whether the service ended a session because it was idle.
// Its words are "Your session timed out due to inactivity."
func isIdleReason(reason string) bool {
	reason = strings.ToLower(reason)
	return strings.Contains(reason, "inactiv") || strings.Contains(reason, "idle") || strings.Contains(reason, "timed out")
}

// EndedError describes a session that has ended, and why.
type EndedError struct {
	Text string
	Err  error // the cause; may be nil
}

func (e *EndedError) Error() string { return e.Text }
func (e *EndedError) Unwrap() error { return e.Err }
