//go:build !unix

package listen

// syscallUmask does nothing on systems whose files have no modes.
func syscallUmask(int) (old int) { return 0 }
