package driver

import (
	"context"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// An Examiner contributes the cloud's own checks to "ssmpipe doctor". A Driver
// may implement it.
type Examiner interface {
	// Examine begins an examination. It makes no calls before the checks do. The
	// caller must close it.
	Examine(r *ExamineRequest) Examination
}

// ExamineRequest says what to examine. The methods and fields that the doctor
// sets as it goes may be used in the checks of later stages only.
type ExamineRequest struct {
	Account *Account
	Target  Target // zero without a target
	Port    string // to connect to
	Options SessionOptions

	// PushKey says to try to push a key for User.
	PushKey bool
	User    string

	// Limit bounds the time for connecting.
	Limit func(context.Context) (context.Context, context.CancelFunc)

	// Blocked reports whether nothing can build on a check, and Block says so.
	Blocked func(check string) bool
	Block   func(check string)

	Found Machine // what the target names; set before StageMachine
	Trial Trial   // set before StageSession
}

// Trial is a session that was opened as a test.
type Trial struct {
	Port   stream.Port // nil if it could not be opened
	Err    error
	Opened time.Time
	Close  func() // ends it; can be called again
}

// Examination is a cloud's part in an examination. It is used by one goroutine.
type Examination interface {
	// Checks returns the checks of a stage, in order.
	Checks(s Stage) []Check

	// Service returns the service that the checks of StageAccount have opened, or
	// nil.
	Service() Service

	Close()
}

// Stage is a part of an examination.
type Stage int

// The stages, in order. The doctor's own checks come between them: it looks for
// the target after StageAccount, and examines the port after StageSession.
const (
	StageAccount Stage = iota // configuration, credentials, network, permissions
	StageMachine              // its state, its agent
	StageSession              // how far Trial got
	StageEnd                  // what comes after the port
)

// Check is one check. Those that it needs come before it. A finding without a
// status means that there was nothing to check.
type Check struct {
	Name    string
	Needs   []string
	Look    func(context.Context) Finding
	NoLimit bool // a person may be asked
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
}

// Statement is a statement of an IAM policy.
type Statement struct {
	Effect   string
	Action   string
	Resource []string
}
