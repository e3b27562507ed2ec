//go:build !unix

package regular

// nonBlock is 0 on systems where pipes are not in the file system.
const nonBlock = 0
