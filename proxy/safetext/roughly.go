package safetext

import (
	"fmt"
	"time"
)

// Roughly formats a duration the way people say it.
func Roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	default:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
}

// Ago formats how long ago t was, as Roughly does. A time to come was just now.
func Ago(t time.Time) string { return Roughly(max(0, time.Since(t))) }
