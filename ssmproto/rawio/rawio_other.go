//go:build !linux

// Package rawio reads from and writes to sockets and pipes by system calls that
// Go's scheduler is not told of. That exists on Linux only.
package rawio

import (
	"syscall"
	"time"
)

// File exists on Linux only.
type File struct{}

// New returns nil: c's own methods must do.
func New(c syscall.Conn) *File { return nil }

// Read is not called here.
func (*File) Read(p []byte) (int, error) { panic("rawio: not on this system") }

// Write is not called here.
func (*File) Write(p []byte) (int, error) { panic("rawio: not on this system") }

// Gather is not called here.
func (*File) Gather(n int, d time.Duration) { panic("rawio: not on this system") }

// Close is not called here.
func (*File) Close() { panic("rawio: not on this system") }
