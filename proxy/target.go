package proxy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

// ErrTarget says that a target is not written as one.
var ErrTarget = errors.New("not a target")

// The forms that the service takes as they are.
var targetID = regexp.MustCompile(`^(m?i-[0-9A-Za-z]+|ecs:[!-~]+_[!-~]+_[!-~]+)$`)

// resolve turns what a user calls a machine into what StartSession takes.
func resolve(_ context.Context, name string) (string, error) {
	if targetID.MatchString(name) {
		return name, nil
	}
	return "", fmt.Errorf("%q is %w: give an instance id (i-…), a managed node's id (mi-…) or ecs:CLUSTER_TASKID_RUNTIMEID",
		name, ErrTarget)
}
