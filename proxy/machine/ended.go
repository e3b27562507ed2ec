package machine

import (
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Use is what a session is for, which decides what helps when it has ended.
type use int

const (
	useStream use = iota // ssh's, mostly
	UseForward
	UseShell
	UseCommand
)

// UseOf is the use of a session that somebody else has started.
func UseOf(conn *ssmproto.Conn) use {
	switch {
	case conn.SessionType() == ssmproto.NonInteractiveSession:
		return UseCommand
	case conn.SessionType() != ssmproto.PortSession:
		return UseShell
	case conn.Property("type") == "LocalPortForwarding":
		return UseForward
	}
	return useStream
}

// again is what to do when a session has ended before its time.
func (u use) again() string {
	switch u {
	case UseForward, UseShell:
		return "start it again"
	case UseCommand:
		return "see what the command has done before you run it again"
	}
	return "connect again"
}

// nextSession is what to do after the end of a session that err tells of. How to
// keep one alive in which nothing happens is of use only after an idle timeout.
func (o *Options) nextSession(err error) string {
	again := o.Use.again()
	if reason, told := stream.Reason(err); !told || !isIdleReason(reason) {
		return again
	}
	switch {
	case o.Use == useStream:
		return again + "; an idle ssh is kept alive by ServerAliveInterval"
	case o.NoFlags: // nor is there anything else that keeps it alive
		return again
	}
	return "--keepalive 5m keeps a session alive in which nothing happens"
}

// nextForbidden is what to do when the agent refuses to forward to a host.
const nextForbidden = "the agent forwards to no loopback or metadata address, nor to a name that leads to one there, such as the machine's own; for a port of the machine itself give localhost as the host, or none"

// isIdleReason says whether the service ended a session because it was idle, in
// its words "Your session timed out due to inactivity."
func isIdleReason(reason string) bool {
	reason = strings.ToLower(reason)
	return strings.Contains(reason, "inactiv") || strings.Contains(reason, "idle") || strings.Contains(reason, "timed out")
}

// EndedError says of what the session was that has ended, for a reason.
type EndedError struct {
	Text string
	Err  error // nil, or why
}

func (e *EndedError) Error() string { return e.Text }
func (e *EndedError) Unwrap() error { return e.Err }
