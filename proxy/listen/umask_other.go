//go:build !unix

package listen

// syscallUmask does nothing where files have no modes.
func syscallUmask(int) (old int) { return 0 }
