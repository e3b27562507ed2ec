//go:build !linux

// Package rawio reads from and writes to sockets and pipes with system calls
// that bypass Go's scheduler. It is implemented on Linux only.
package rawio

import (
	"syscall"
	"time"
)

// File is implemented on Linux only.
type File struct{}

// New returns nil: use c's own methods.
func New(c syscall.Conn) *File { return nil }

// Read is not called here.
func (*File) Read(p []byte) (int, error) { panic("rawio: not on this system") }

// Write is not called here.
func (*File) Write(p []byte) (int, error) { panic("rawio: not on this system") }

// Gather is not called here.
func (*File) Gather(n int, d time.Duration) { panic("rawio: not on this system") }

// Close is not called here.
func (*File) Close() { panic("rawio: not on this system") }
