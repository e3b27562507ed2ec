//go:build !linux && !darwin

package link

import "context"

// watchers returns nothing: on these systems only the link's timer notices,
// within the time that a silent link is allowed.
func watchers(context.Context) []func() bool { return nil }
