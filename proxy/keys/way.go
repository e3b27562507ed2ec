package keys

import (
	"errors"
	"time"
)

// Way is how the machine comes to know the key.
type Way string

const (
	// InstanceConnect is EC2 Instance Connect: EC2 instances only, on which its
	// package is installed.
	InstanceConnect Way = "instance-connect"
	// RunCommand runs a shell script on the machine as root, which takes far
	// wider permissions.
	RunCommand Way = "run-command"
)

// Time is for how long the machine knows the key. Instance Connect's own.
const Time = time.Minute

// ErrKind says that a key is of a kind that cannot go the way that was chosen.
var ErrKind = errors.New("not a kind of key that can be pushed")
