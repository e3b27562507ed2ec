// Package listen opens what others connect to here, ports and Unix sockets, and
// takes connections in for as long as that can be done.
//
// It may use proxy/safetext only. Begin with [Open] and [Acceptor].
package listen
