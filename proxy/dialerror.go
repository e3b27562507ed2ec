package proxy

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// dialError is the reason why a dial failed, in the service's own words.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

func (e dialError) Error() string {
	text := (&machine.Options{Driver: aws.Driver{}}).Cause(e.error)
	var at *machine.MachineError
	if errors.As(e.error, &at) {
		text = at.ID + ": " + text
	}
	return safetext.Printable(text)
}

// Timeout reports whether the dial timed out; net.OpError calls it.
func (e dialError) Timeout() bool {
	return driver.TimedOut(e.error)
}

// Is matches conditions for which the SDK has no sentinel errors.
func (e dialError) Is(target error) bool {
	switch target {
	case ErrRefused:
		return stream.Refused(e.error)
	case ErrAway:
		var away *machine.AwayError
		return errors.As(e.error, &away) || aws.Driver{}.Explain(e.error, &driver.Account{}).NotConnected
	case fs.ErrPermission:
		return aws.Driver{}.Explain(e.error, &driver.Account{}).Denied
	}
	return false
}

// refusedError is ErrRefused with the driver's text. It also matches
// syscall.ECONNREFUSED.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

func (e refusedError) Is(target error) bool {
	return target == ErrRefused || target == syscall.ECONNREFUSED
}
