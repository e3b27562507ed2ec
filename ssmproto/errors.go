package ssmproto

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/clip"
)

var (
	// ErrSessionEnded means that the service no longer has the session: it
	// timed out or was terminated. A Session's Resume wraps it when the service
	// says so.
	ErrSessionEnded = errors.New("the session has ended")

	// ErrNotConnected means that the agent could not connect to the port: it
	// ended the session before a byte of the stream was accepted or sent, or
	// reported the failure of one of a Mux's connections.
	ErrNotConnected error = notConnectedError{}

	// ErrGap means that the channel was closed while messages were missing.
	ErrGap = errors.New("the channel was closed before all data had arrived")

	// ErrAgentSilent means that the service can be reached, but the agent has
	// not acknowledged anything for as long as an outage may last.
	ErrAgentSilent = errors.New("the agent does not answer")
)

type notConnectedError struct{}

func (notConnectedError) Error() string { return "the agent could not connect to the port" }

// Refused reports that a connection was refused, to callers that do not import
// this package.
func (notConnectedError) Refused() bool { return true }

// ClosedError means that the service or the agent ended the session and gave a
// human-readable reason.
type ClosedError struct{ Reason string }

func (e *ClosedError) Error() string { return "the session was closed: " + clip.Text(e.Reason) }

// EndReason returns the reason.
func (e *ClosedError) EndReason() string { return e.Reason }

// Forbidden reports whether the agent refuses to forward to the host, in its
// words "Forwarding to IP address 127.0.0.1 is forbidden." Agents from 3.3.4851
// on refuse loopback addresses and names that resolve to them; all agents
// refuse the instance metadata service.
func (e *ClosedError) Forbidden() bool {
	return strings.Contains(e.Reason, "Forwarding to") && strings.Contains(e.Reason, "is forbidden")
}

// HandshakeError means that the handshake with the agent failed.
type HandshakeError struct{ Err error }

func (e *HandshakeError) Error() string {
	return "handshake with the agent: " + clip.Text(e.Err.Error())
}
func (e *HandshakeError) Unwrap() error { return e.Err }

// ResumeError means that the session could not be resumed in time. Err is the
// last error.
type ResumeError struct {
	After time.Duration
	Err   error
}

func (e *ResumeError) Error() string {
	return fmt.Sprintf("could not resume the session within %v: %v", e.After.Round(time.Second), e.Err)
}
func (e *ResumeError) Unwrap() error { return e.Err }

// GoneError means that the service no longer had the session when it was asked,
// in an outage or because the agent was silent. It wraps ErrSessionEnded.
type GoneError struct {
	After  time.Duration // how long the outage or the silence had lasted
	Silent bool          // the agent was silent; the link was up
	Err    error
}

func (e *GoneError) Error() string {
	after := e.After.Round(time.Second)
	if e.Silent {
		return fmt.Sprintf("the machine has not answered for %v, and the service no longer has the session", after)
	}
	return fmt.Sprintf("the session has ended while the connection was down (for %v)", max(after, time.Second))
}
func (e *GoneError) Unwrap() error { return e.Err }

// SilenceError means that the agent was silent for as long as an outage may
// last. It wraps ErrAgentSilent.
type SilenceError struct{ After time.Duration }

func (e *SilenceError) Error() string {
	return fmt.Sprintf("%v (for %v)", ErrAgentSilent, e.After.Round(time.Second))
}
func (e *SilenceError) Unwrap() error { return ErrAgentSilent }

// Permanent marks an error of a Session's Resume as one that a retry will not
// fix, such as a missing permission.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

func permanent(err error) bool {
	var p *permanentError
	return errors.Is(err, ErrSessionEnded) || errors.As(err, &p)
}
