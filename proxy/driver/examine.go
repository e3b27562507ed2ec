package driver

import (
	"context"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// An Examiner knows what to check for "ssmpipe doctor". A Driver may implement
// it.
type Examiner interface {
	// Examine returns the checks to make, in order, and a function that ends what
	// they have started. It makes no calls itself. What outlasts a check ends with
	// life.
	Examine(life context.Context, r *ExamineRequest) (checks []Check, end func())
}

// ExamineRequest says what to examine.
type ExamineRequest struct {
	Account  *Account
	Target   Target // zero without a target
	Port     string // of the target
	Document string // the user's choice; "" means the driver's

	// PushKey says to try to push a key for User.
	PushKey bool
	User    string

	Doctor Doctor
}

// Doctor is what an Examiner's checks need of the doctor. Its methods are called
// by the checks only: Use before Target, Target before Open, Open before Port.
type Doctor interface {
	// Use says which service to use from now on. The doctor closes it.
	Use(Service)

	// Target looks for the machine that the target names, and describes it. If
	// partly is set, not all machines can be seen, so that one with an id may exist
	// although it is not found. The finding is then a warning without a remedy, as
	// it is if looking is not allowed.
	Target(ctx context.Context, partly bool) (Machine, Finding)

	// Open opens a session to the port as a test. The doctor closes the Port, which
	// may already be closed.
	Open(context.Context) (stream.Port, error)

	// Port says what is at the port.
	Port(context.Context) Finding

	// Problem returns a finding that says what err means and what helps.
	Problem(Status, error) Finding
}

// Check is one check. Those that it needs come before it. A finding without a
// status means that there was nothing to check.
type Check struct {
	Name  string
	Needs []string
	Look  func(context.Context) Finding

	// Patient says that a person may be asked. Only the time for connecting limits
	// the check then.
	Patient bool
}

// Status is the result of a check.
type Status string

const (
	StatusOK      Status = "ok"
	StatusWarning Status = "warning" // it works only in part, or not for long
	StatusFailed  Status = "failed"
	StatusSkipped Status = "skipped" // it could not be checked
)

// Finding is what one check has found.
type Finding struct {
	Check  string     `json:"check"`
	Status Status     `json:"status"`
	Detail string     `json:"detail"`
	Remedy string     `json:"remedy,omitempty"`
	Allow  *Statement `json:"allow,omitempty"` // what a policy lacks

	// Blocks says that other checks cannot build on this one, although it has not
	// failed.
	Blocks bool `json:"-"`
}

// Statement is a statement of an IAM policy.
type Statement struct {
	Effect   string
	Action   string
	Resource []string
}
