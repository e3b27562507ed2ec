// Package ssmproto speaks the data channel of AWS Systems Manager Session
// Manager: the messages, the handshake, and a reliable stream over them that
// outlives its WebSockets. It knows nothing of AWS's API: where sessions and
// their tokens come from is a Session that the caller provides.
package ssmproto
