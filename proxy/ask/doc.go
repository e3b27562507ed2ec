// Package ask has a person asked, on the terminal device because stdin and stdout
// are the stream, and limits of time that stand still meanwhile.
//
// It may use proxy/lastly and proxy/safetext. Begin with [Person] and [WithLimit].
package ask
