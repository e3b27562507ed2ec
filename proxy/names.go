package proxy

import (
	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// What a [Dialer]'s errors are, beside those of context and net.
var (
	ErrTarget     = machine.ErrTarget    // what is dialled is not written as a target
	ErrNoMachine  = machine.ErrNoMachine // there is no machine of that name
	ErrSeveral    = machine.ErrSeveral   // there are several
	ErrNoRegion   = awsapi.ErrNoRegion   // nothing says which region is meant
	ErrNoTerminal = ask.ErrNoTerminal    // a person would have to be asked
)

// Error is what went wrong with a target, and what can be done about it.
type Error = machine.Error

// Pick is how one of several machines of the same name is chosen.
type Pick = machine.Pick

// The ways to choose. The zero value does not.
const (
	PickNewest = machine.PickNewest // launched last
	PickOldest = machine.PickOldest // launched first
	PickAny    = machine.PickAny    // whichever is connected
)
