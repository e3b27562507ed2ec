//go:build !linux

package proxy

import "os"

// shortenPipe does nothing here: pipes have the size they have.
func shortenPipe(*os.File) {}
