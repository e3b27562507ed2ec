// Package stream defines what commands need of a connection to a machine,
// independent of the service that carries it. A driver's connections implement
// these interfaces; those of ssmproto do so without importing this package.
//
// It may use nothing else of this module. Begin with [Conn].
package stream

import (
	"context"
	"errors"
	"net"
	"time"
)

// Conn is a connection to a machine. Read returns io.EOF when the far side has
// ended it normally. Close must be called even after the Conn has ended. All
// methods may be called concurrently.
type Conn interface {
	net.Conn

	// Done returns a channel that is closed when the Conn has ended. Err then
	// returns the reason, io.EOF for a normal end; before, it returns nil.
	Done() <-chan struct{}
	Err() error

	// Fail ends the Conn with err, as if it had been lost.
	Fail(err error)

	// Silence returns how long the machine has left messages unanswered, how
	// many messages are pending, and a channel that is closed when a silence
	// worth reporting begins or ends. lasted is 0 when no answer is pending,
	// and while there is no connection at all.
	Silence() (lasted time.Duration, pending int, changed <-chan struct{})
}

// Port is a Conn to a port of a machine, or of a host behind it. The Port
// itself is the connection unless it is Multiplexed or Open has been called.
type Port interface {
	Conn

	// Multiplexed reports whether the Port carries many connections at a time.
	Multiplexed() bool

	// Open opens a connection. It returns once the request is on its way to the
	// machine, or ctx has ended. If the machine cannot connect, Read fails with
	// an error that is [Refused]. Unless the Port is Multiplexed, the next
	// connection must not be opened before Close of the previous one returns.
	Open(ctx context.Context) (net.Conn, error)

	// Stalled returns how long the Port has accepted no data because programs
	// do not read from their connections.
	Stalled() time.Duration
}

// Shell is a Conn to a shell or a command.
type Shell interface {
	Conn

	// Message returns the far side's initial message to the user, if any.
	Message() string

	// Resize sets the size of the terminal, in characters. It does not block.
	Resize(cols, rows int)

	// ReadPart is like Read, and also reports whether the data is from the
	// command's standard error.
	ReadPart(p []byte) (n int, stderr bool, err error)

	// ExitStatus returns a command's exit status, if the far side has reported
	// it by the time Read returns io.EOF. It is -1 if a signal ended the command.
	ExitStatus() (status int, told bool)
}

// Outage describes a time without a connection to the service.
type Outage struct {
	Err    error         // what went wrong last
	Lasted time.Duration // since the connection was lost
	Over   bool          // it is back
}

// Silence describes a time in which the machine does not answer although the
// connection to the service is up.
type Silence struct {
	Lasted  time.Duration
	Pending int  // messages without an answer
	Over    bool // the machine has answered
}

// Repeat describes messages that the machine has to send again.
type Repeat struct {
	Messages int           // how many are missing
	Takes    time.Duration // about how long that will take
}

// Refused reports whether err means that a machine could not connect to a
// port. Such an error has a method Refused that returns true.
func Refused(err error) bool {
	var e interface{ Refused() bool }
	return errors.As(err, &e) && e.Refused()
}

// Forbidden reports whether err means that a machine refuses, permanently, to
// forward to a host. Such an error has a method Forbidden that returns true.
func Forbidden(err error) bool {
	var e interface{ Forbidden() bool }
	return errors.As(err, &e) && e.Forbidden()
}

// Reason returns why the far side ended a stream early, in its own words, if
// err says so. Such an error has a method EndReason, which returns the reason.
func Reason(err error) (reason string, told bool) {
	var e interface{ EndReason() string }
	if !errors.As(err, &e) {
		return "", false
	}
	return e.EndReason(), true
}
