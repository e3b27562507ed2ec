//go:build !unix

package demo

import "time"

// users knows nothing here of the demo's ssmpipes, and gives them a moment.
type users struct{}

func makeUsers(string) (*users, error) { return &users{}, nil }

func (*users) wait(d time.Duration) { time.Sleep(min(d, 500*time.Millisecond)) }

func (*users) close() error { return nil }
