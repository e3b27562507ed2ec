//go:build !unix

package regular

// nonBlock is nothing where pipes have no names among those of files.
const nonBlock = 0
