package machine

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// ErrTold says that something failed and that Notice has already reported it.
var ErrTold = errors.New("some of it failed")

// Error describes what went wrong with a target and what the user can do about
// it.
type Error struct {
	Target string // "" if the error is not about a target
	Err    error
	Next   string // the next step; may be ""

	cause string // "" means Err's text
}

// Error returns one line: the target, the cause in the service's own words, and
// the next step. If there are alternatives to choose from, each follows on its
// own line.
func (e *Error) Error() string {
	text := cmp.Or(e.cause, safetext.Said(e.Err.Error()))
	if e.Target != "" {
		text = e.Target + ": " + text
	}
	if e.Next != "" {
		text = strings.TrimRight(text, ". ") + "; " + e.Next
	}
	text = safetext.Printable(text)
	var several *SeveralError
	if errors.As(e.Err, &several) {
		text += ":\n    " + strings.Join(several.Lines(), "\n    ")
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// DestinationError says which of several destinations an error is about.
type DestinationError struct {
	To  Destination
	Err error
}

func (e *DestinationError) Error() string { return e.To.String() + ": " + e.Err.Error() }
func (e *DestinationError) Unwrap() error { return e.Err }

// MachineError says which machine the target resolved to.
type MachineError struct {
	ID string
	error
}

func (e *MachineError) Unwrap() error { return e.error }

// meaning returns what err means.
func (o *Options) meaning(err error) driver.Meaning {
	if err == nil {
		return driver.Meaning{}
	}
	return o.Driver.Explain(err, &o.Account)
}

// Answered reports whether err is the service's answer.
func (o *Options) Answered(err error) bool { return o.meaning(err).Answered }

// Cause returns one line that says what went wrong, in the service's own words.
// It truncates outside text to a readable length and removes the final full
// stop, so that more text can follow.
func (o *Options) Cause(err error) string {
	var (
		ended *EndedError
		to    *DestinationError
		away  *AwayError
	)
	switch {
	case errors.As(err, &ended):
		return ended.Error()
	case errors.As(err, &to) && !o.meaning(err).Busy: // throttling is the account's, not one destination's
		return to.To.String() + ": " + o.Cause(to.Err)
	case errors.As(err, &away):
		return away.Error()
	}
	return o.meaning(err).Cause
}

// Explain adds the target and the next step to err.
func (o *Options) Explain(err error) error {
	if err == nil {
		return nil
	}
	name := o.Target
	var at *MachineError
	if errors.As(err, &at) {
		name = fmt.Sprintf("%s (%s)", name, at.ID)
	}
	return &Error{Target: name, Err: err, Next: o.Next(err), cause: o.Cause(err)}
}

// Next returns what the user can do about err, or "".
func (o *Options) Next(err error) string {
	var (
		away    *AwayError
		none    *NoMachineError
		several *SeveralError
		own     interface{ Next() string }
		dns     *net.DNSError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &away):
		return away.next(o.Target)
	case errors.As(err, &none):
		return none.next()
	case errors.Is(err, driver.ErrNoMachine), errors.Is(err, driver.ErrTarget):
		return ""
	case errors.As(err, &several):
		return "choose by id, or with --pick newest, oldest or any"
	case errors.As(err, &own):
		return own.Next()
	}
	m := o.meaning(err)
	switch {
	case m.Next != "":
		return m.Next
	case m.NoCredentials && driver.TimedOut(err):
		return o.nextAfterTimeout()
	case stream.Refused(err):
		if o.Host != "" {
			return fmt.Sprintf("check that something listens on %s, as seen from there", Destination{Host: o.Host, Port: o.Port})
		}
		return fmt.Sprintf("check that something listens on port %s there", o.Port)
	case m.End == driver.Ended:
		return o.nextSession(err)
	case m.End == driver.Silent:
		return "check that it is running and not overloaded, and " + o.Use.again()
	case m.End == driver.Unresumed && o.NoFlags:
		return "check the network, and " + o.Use.again()
	case m.End == driver.Unresumed:
		return "check the network, and " + o.Use.again() + "; --resume-timeout sets how long to keep trying"
	case errors.As(err, &dns):
		return "check the network and the region's name"
	case errors.As(err, &op) && op.Op != "listen":
		return "check the network and HTTPS_PROXY"
	case driver.TimedOut(err):
		return o.nextAfterTimeout()
	}
	return ""
}

// nextAfterTimeout returns what to do when a limit of time is over.
func (o *Options) nextAfterTimeout() string {
	if o.NoFlags {
		return "check the network and HTTPS_PROXY"
	}
	return "check the network and HTTPS_PROXY; --connect-timeout sets how long to wait"
}
