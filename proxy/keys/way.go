package keys

import (
	"errors"
	"time"
)

// Way is how a key is pushed to the machine.
type Way string

const (
	// InstanceConnect is EC2 Instance Connect. It works only for EC2 instances
	// that have its package installed.
	InstanceConnect Way = "instance-connect"
	// RunCommand runs a shell script on the machine as root, which needs far
	// wider permissions.
	RunCommand Way = "run-command"
)

// Time is how long the machine accepts the key. It is Instance Connect's own
// limit.
const Time = time.Minute

// ErrKind says that a key's type cannot be pushed in the chosen way.
var ErrKind = errors.New("this kind of key cannot be pushed")
