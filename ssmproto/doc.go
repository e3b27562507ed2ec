// Package ssmproto speaks the data channel of AWS Systems Manager Session
// Manager: the messages, the handshake, and a reliable stream over them that
// outlives its WebSockets. It knows nothing of AWS's API: where sessions and
// their tokens come from is a Session that the caller provides. (Package proxy
// has one that calls AWS, and a Dialer that is all a program needs that may do
// so itself.)
//
// [Dial] makes a [Conn] of a [Session], which is a net.Conn. If that forwards a
// port and is Multiplexed, [NewMux] makes many connections of it.
package ssmproto
