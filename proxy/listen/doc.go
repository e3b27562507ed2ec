// Package listen opens local ports and Unix sockets, and keeps accepting
// connections as long as possible.
//
// It may import only proxy/safetext. Start with [Open] and [Acceptor].
package listen
