// Package ask asks a person on the terminal device, because stdin and stdout
// are the stream, and provides time limits that are paused meanwhile.
//
// It may import proxy/lastly and proxy/safetext. Start with [Person] and
// [WithLimit].
package ask
