//go:build !unix

package proxy

// syscallUmask does nothing where files have no modes.
func syscallUmask(int) (old int) { return 0 }
