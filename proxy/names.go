package proxy

import (
	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// Errors of a [Dialer], in addition to those of packages context and net.
var (
	ErrTarget     = driver.ErrTarget    // the address is not a valid target
	ErrNoMachine  = driver.ErrNoMachine // no machine has that name
	ErrSeveral    = driver.ErrSeveral   // several machines have that name
	ErrNoRegion   = awsapi.ErrNoRegion  // no region is configured
	ErrNoTerminal = ask.ErrNoTerminal   // user input is needed and there is no terminal
)

// Error describes what went wrong with a target and what to do about it.
type Error = machine.Error

// Pick says how to choose one of several machines of the same name.
type Pick = machine.Pick

// Values of Pick. The zero value chooses none.
const (
	PickNewest = machine.PickNewest // the one launched last
	PickOldest = machine.PickOldest // the one launched first
	PickAny    = machine.PickAny    // any that is connected
)
