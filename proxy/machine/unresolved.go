package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// noMachineError is ErrNoMachine with the names that may have been meant.
type noMachineError struct {
	region string
	near   []string
}

func (e *noMachineError) Error() string { return fmt.Sprintf("%v in %s", ErrNoMachine, e.region) }
func (e *noMachineError) Unwrap() error { return ErrNoMachine }

func (e *noMachineError) next() string {
	if len(e.near) == 0 {
		return `"ssmpipe ls" lists what there is; --profile and --region choose account and region`
	}
	return "did you mean " + strings.Join(e.near, ", ") + "?"
}

// SeveralError is ErrSeveral with the list of machines.
type SeveralError struct{ list []inventory.Instance }

func (e *SeveralError) Error() string { return fmt.Sprintf("%d machines have this name", len(e.list)) }
func (e *SeveralError) Unwrap() error { return ErrSeveral }

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
	known *inventory.Instance
	error // the service's error; nil if it was not asked
}

func (e *AwayError) Unwrap() error { return e.error }

func (e *AwayError) Error() string {
	text := ""
	if e.error != nil {
		text = Cause(e.error) + ": "
	}
	switch e.known.State {
	case "stopped", "stopping", "pending", "shutting-down", "terminated":
		return text + "it is " + e.known.State
	}
	switch {
	case startedLately(e.known) && !e.known.Online():
		return text + "it was started " + Ago(e.known.Launched) + " ago, and its SSM agent has not called in since"
	case e.known.Ping == "":
		return text + "its SSM agent has never called in"
	case e.known.Online():
		return text + "its SSM agent called in " + Ago(e.known.Pinged) + " ago"
	case e.known.Pinged.IsZero():
		return text + "its SSM agent is not connected"
	}
	return text + "its SSM agent has not called in for " + Ago(e.known.Pinged)
}

func (e *AwayError) next(target string) string {
	switch e.known.State {
	case "stopped", "stopping":
		return "--start starts it"
	case "pending":
		return "--start waits until it has started"
	case "shutting-down", "terminated":
		return `"ssmpipe ls" lists what there is`
	}
	if startedLately(e.known) && (e.known.Ping != "" || e.known.Profile != "") {
		return "--start waits for it"
	}
	if e.known.Ping == "" && e.known.State == "running" && e.known.Profile == "" {
		return "it has no instance profile: attach one whose role has the policy AmazonSSMManagedInstanceCore"
	}
	return fmt.Sprintf("\"ssmpipe doctor %s\" looks for the reason", target)
}

// Ago formats a past time the way people say it.
func Ago(t time.Time) string {
	return safetext.Roughly(max(0, time.Since(t)))
}
