package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// NoMachineError is driver.ErrNoMachine with the names that may have been meant.
type NoMachineError struct {
	region string
	near   []string
}

func (e *NoMachineError) Error() string {
	return fmt.Sprintf("%v in %s", driver.ErrNoMachine, e.region)
}
func (e *NoMachineError) Unwrap() error { return driver.ErrNoMachine }

func (e *NoMachineError) next() string {
	if len(e.near) == 0 {
		return `"ssmpipe ls" lists the machines; --profile and --region select the account and region`
	}
	return "did you mean " + strings.Join(e.near, ", ") + "?"
}

// SeveralError is driver.ErrSeveral with the list of machines.
type SeveralError struct{ list []driver.Machine }

func (e *SeveralError) Error() string { return fmt.Sprintf("%d machines have this name", len(e.list)) }
func (e *SeveralError) Unwrap() error { return driver.ErrSeveral }

// maxListed is how many machines are listed.
const maxListed = 20

// Lines returns a line for each machine, to be printed below the error.
func (e *SeveralError) Lines() (lines []string) {
	for i := range e.list[:min(len(e.list), maxListed)] {
		m := &e.list[i]
		launched := ""
		if !m.Launched.IsZero() {
			launched = "launched " + m.Launched.Local().Format("2006-01-02 15:04")
		}
		words := []string{m.ID, m.Name, cmp.Or(m.State, m.Ping), cmp.Or(m.PrivateIP, m.PublicIP), launched}
		for j, w := range words {
			words[j] = safetext.Printable(w)
		}
		lines = append(lines, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), "  "))
	}
	if more := len(e.list) - maxListed; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// AwayError says why a machine cannot be reached, as far as is known.
type AwayError struct {
	known  *driver.Machine
	cause  string // the service's word; "" if it was not asked
	agent  string // the driver's word for it
	advice string // the driver's
	error         // the service's error; nil if it was not asked
}

// away returns an AwayError, given the service's error, if it was asked.
func (o *Options) away(known *driver.Machine, err error) *AwayError {
	e := &AwayError{known: known, error: err, agent: o.Driver.Words().Agent}
	if err != nil {
		e.cause = o.Cause(err)
	}
	if a, ok := o.Driver.(driver.Adviser); ok {
		e.advice = a.Advise(known)
	}
	return e
}

func (e *AwayError) Unwrap() error { return e.error }

func (e *AwayError) Error() string {
	text := ""
	if e.cause != "" {
		text = e.cause + ": "
	}
	switch e.known.State {
	case "stopped", "stopping", "pending", "shutting-down", "terminated":
		return text + "it is " + e.known.State
	}
	switch {
	case startedLately(e.known) && !e.known.Online():
		return text + "it was started " + safetext.Ago(e.known.Launched) + " ago, and its " + e.agent + " has not called in since"
	case e.known.Ping == "":
		return text + "its " + e.agent + " has never called in"
	case e.known.Online():
		return text + "its " + e.agent + " called in " + safetext.Ago(e.known.Pinged) + " ago"
	case e.known.Pinged.IsZero():
		return text + "its " + e.agent + " is not connected"
	}
	return text + "its " + e.agent + " has not called in for " + safetext.Ago(e.known.Pinged)
}

func (e *AwayError) next(target string) string {
	switch e.known.State {
	case "stopped", "stopping":
		return "--start starts it"
	case "pending":
		return "--start waits until it has started"
	case "shutting-down", "terminated":
		return `"ssmpipe ls" lists the machines`
	}
	if startedLately(e.known) && (e.known.Ping != "" || e.known.Profile != "") {
		return "--start waits for it"
	}
	if e.known.Ping == "" && e.known.State == "running" && e.advice != "" {
		return e.advice
	}
	return fmt.Sprintf("\"ssmpipe doctor %s\" looks for the reason", target)
}
