// Package stream says what commands need of a connection to a machine, whatever
// service it goes by. A driver's connections are such streams by their methods;
// those of ssmproto are, and need not know of it.
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
// ended it as it should. Close must be called, also after it has ended. All
// methods may be called concurrently.
type Conn interface {
	net.Conn

	// Done is closed when the Conn has ended, and Err says why: nil until then,
	// io.EOF if it ended as it should.
	Done() <-chan struct{}
	Err() error

	// Fail ends the Conn with err, as if it had been lost.
	Fail(err error)

	// Silence returns for how long the machine has not answered what it was sent,
	// how many messages wait for that, and a channel that is closed when a silence
	// worth telling begins or ends. lasted is 0 when nothing is waited for, or
	// while there is no way there at all.
	Silence() (lasted time.Duration, pending int, changed <-chan struct{})
}

// Port is a Conn to a port of a machine, or of a host behind it. It is itself
// the connection unless it is Multiplexed or Open has been called.
type Port interface {
	Conn

	// Multiplexed says whether it carries many connections at a time.
	Multiplexed() bool

	// Open opens a connection; it returns once the machine is being told, or ctx
	// has ended. If the machine could not connect, a Read of the connection fails
	// with an error that is [Refused]. Unless the Port is Multiplexed, Close of a
	// connection returns when the next one can be opened, which must not be done
	// before.
	Open(ctx context.Context) (net.Conn, error)

	// Stalled returns for how long nothing has been taken in because programs do
	// not read what has come for their connections.
	Stalled() time.Duration
}

// Shell is a Conn to a shell or a command.
type Shell interface {
	Conn

	// Message returns what the far side has to say to the user at the beginning,
	// if anything.
	Message() string

	// Resize tells how large the terminal is, in characters. It does not block.
	Resize(cols, rows int)

	// ReadPart is Read, and says whether what it has read is what a command has
	// written to its standard error.
	ReadPart(p []byte) (n int, stderr bool, err error)

	// ExitStatus returns a command's exit status, if that has been told by the
	// time Read returns io.EOF; -1 is a command that a signal has ended.
	ExitStatus() (status int, told bool)
}

// Refused says whether err is that a machine could not connect to a port. Such
// an error has a method Refused, which says so.
func Refused(err error) bool {
	var e interface{ Refused() bool }
	return errors.As(err, &e) && e.Refused()
}

// Forbidden says whether err is that a machine refuses to forward to a host, and
// will each time. Such an error has a method Forbidden, which says so.
func Forbidden(err error) bool {
	var e interface{ Forbidden() bool }
	return errors.As(err, &e) && e.Forbidden()
}

// Reason returns why the far side ended a stream before its time, in its own
// words, if err is that. Such an error has a method EndReason, which returns it.
func Reason(err error) (reason string, told bool) {
	var e interface{ EndReason() string }
	if !errors.As(err, &e) {
		return "", false
	}
	return e.EndReason(), true
}
