package ssmproto

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrSessionEnded says that the service no longer has the session: it
	// timed out or was terminated. A Session's Resume wraps it when the
	// service says so.
	ErrSessionEnded = errors.New("the session has ended")

	// ErrNotConnected says that the agent could not connect to the port: it
	// ended the session before it took or sent a byte of the stream, or it
	// said so of one of the connections over a Mux.
	ErrNotConnected error = notConnectedError{}

	// ErrGap says that the channel was closed while messages were missing.
	ErrGap = errors.New("the channel was closed before all data had arrived")

	// ErrAgentSilent says that the service is there, but the agent has not
	// acknowledged anything for as long as an outage may last.
	ErrAgentSilent = errors.New("the agent does not answer")

	// ErrDeadPeer says that a link was given up because nothing came over it
	// any more, not even answers to pings.
	ErrDeadPeer = errors.New("nothing heard on the data channel")
)

type notConnectedError struct{}

func (notConnectedError) Error() string { return "the agent could not connect to the port" }

// Refused says what the error is to those who do not know this package.
func (notConnectedError) Refused() bool { return true }

// ClosedError says that the service or the agent ended the session and gave a
// reason for people.
type ClosedError struct{ Reason string }

func (e *ClosedError) Error() string { return "the session was closed: " + clip(e.Reason) }

// EndReason returns the reason.
func (e *ClosedError) EndReason() string { return e.Reason }

// Forbidden says whether the agent refuses to forward to the host, in its words
// "Forwarding to IP address 127.0.0.1 is forbidden." Agents from 3.3.4851 on
// refuse loopback addresses and names that lead to them, all agents the
// instance's metadata service.
func (e *ClosedError) Forbidden() bool {
	return strings.Contains(e.Reason, "Forwarding to") && strings.Contains(e.Reason, "is forbidden")
}

// UpgradeError says that the WebSocket was refused.
type UpgradeError struct {
	Status int
	// Foreign says that the answer was not the service's: see Foreign. It may
	// lead to a host.
	Foreign bool
	LeadsTo string
}

func (e *UpgradeError) Error() string {
	switch {
	case !e.Foreign:
		return fmt.Sprintf("the data channel was refused with HTTP status %d", e.Status)
	case e.LeadsTo != "":
		return fmt.Sprintf("something on the way to the data channel answered in its place: HTTP status %d, which leads to %s", e.Status, e.LeadsTo)
	}
	return fmt.Sprintf("something on the way to the data channel answered in its place: HTTP status %d", e.Status)
}

// HandshakeError says that the agent and this client could not agree.
type HandshakeError struct{ Err error }

func (e *HandshakeError) Error() string { return "handshake with the agent: " + clip(e.Err.Error()) }
func (e *HandshakeError) Unwrap() error { return e.Err }

// ResumeError says that an outage was not overcome in time. Err is what went
// wrong last.
type ResumeError struct {
	After time.Duration
	Err   error
}

func (e *ResumeError) Error() string {
	return fmt.Sprintf("could not resume the session within %v: %v", e.After.Round(time.Second), e.Err)
}
func (e *ResumeError) Unwrap() error { return e.Err }

// GoneError says that the service no longer had the session when it was asked
// for it, in an outage or because the agent was silent. It wraps ErrSessionEnded.
type GoneError struct {
	After  time.Duration // how long that had lasted
	Silent bool          // it was the agent; the link was up
	Err    error
}

func (e *GoneError) Error() string {
	after := e.After.Round(time.Second)
	if e.Silent {
		return fmt.Sprintf("the machine has not answered for %v, and the service no longer has the session", after)
	}
	return fmt.Sprintf("the session has ended while the connection was away (for %v)", max(after, time.Second))
}
func (e *GoneError) Unwrap() error { return e.Err }

// SilenceError says that the agent was silent for as long as an outage may last.
// It wraps ErrAgentSilent.
type SilenceError struct{ After time.Duration }

func (e *SilenceError) Error() string {
	return fmt.Sprintf("%v (for %v)", ErrAgentSilent, e.After.Round(time.Second))
}
func (e *SilenceError) Unwrap() error { return ErrAgentSilent }

// Permanent marks an error of a Session's Resume as one that trying again will
// not mend, such as a missing permission.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

func permanent(err error) bool {
	var p *permanentError
	return errors.Is(err, ErrSessionEnded) || errors.As(err, &p)
}
