package proxy

import (
	"errors"
	"time"
)

// PushWay is how the machine comes to know the key.
type PushWay string

const (
	// InstanceConnect is EC2 Instance Connect: EC2 instances only, on which its
	// package is installed.
	InstanceConnect PushWay = "instance-connect"
	// RunCommand runs a shell script on the machine as root, which takes far
	// wider permissions.
	RunCommand PushWay = "run-command"
)

// keyTime is for how long the machine knows the key. Instance Connect's own.
const keyTime = time.Minute

var errKeyType = errors.New("not a kind of key that can be pushed")
