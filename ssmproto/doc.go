// Package ssmproto speaks the data channel of AWS Systems Manager Session
// Manager: the messages, the handshake, and a reliable stream over them that
// outlives its WebSockets. It knows nothing of AWS's API: where sessions and
// their tokens come from is a [Session] that the caller provides. (Package proxy
// has one that calls AWS, and a Dialer that does the whole job.)
//
// [Dial] opens a Session and returns a [Conn], which is a net.Conn. If it
// forwards a port, [NewPort] carries connections over it: many at a time, by a
// [Mux], if it is Multiplexed.
//
// # Where things are
//
// The core, in stream.go, is the protocol without goroutines, locks or clocks.
// Events and the time go in, messages come out. Begin reading there, then follow
// a message:
//
//	event in     link.go       reads from the WebSocket; frame.go finds the messages
//	             incoming.go   hands them to the core under the lock of Conn
//	             conn.go       Write hands over the program's bytes
//	             supervise.go  writeLoop tells the time, attach that the link is new
//
//	core         stream.go     takes a message in, says what to write next
//	             message.go    encodes and decodes messages, ack.go acknowledgements
//	             receiver.go   orders what came, for Read in conn.go
//	             sender.go     keeps what is not acknowledged, to send it again
//	             window.go     says how much may be in flight, rtt.go for how long
//	             cipher.go     encrypts and decrypts the stream
//
//	message out  supervise.go  writeLoop takes messages from the core
//	             link.go       frames them and writes many at once
//	             socket.go     writes them to the network, below TLS
//
// What the agent says beside the stream comes out of the receiver in its place;
// control in incoming.go answers it, with handshake.go and shell.go.
//
// Around that, supervise.go keeps a Conn on one link after another: dial.go opens
// them, attempt.go limits each try, close.go ends it all. vigil.go decides whether
// a link is dead and linkwatch.go acts on it; silence.go does the same for the
// agent. roam.go puts the link in doubt when the network changes. On top of a
// Conn, port.go, mux.go, muxstream.go and muxframe.go carry connections.
package ssmproto
