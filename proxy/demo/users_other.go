//go:build !unix

package demo

import "time"

// users cannot track the demo's ssmpipes here, and just gives them a moment.
type users struct{}

func makeUsers(string) (*users, error) { return &users{}, nil }

func (*users) wait(d time.Duration) { time.Sleep(min(d, 500*time.Millisecond)) }

func (*users) close() error { return nil }
