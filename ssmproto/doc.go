// Package ssmproto speaks the data channel of AWS Systems Manager Session
// Manager: the messages, the handshake, and a reliable stream over them that
// outlives its WebSockets. It does not call AWS's API: the caller provides a
// [Session], which starts sessions and returns their tokens. (Package proxy has
// one that calls AWS, and a Dialer that does the whole job.)
//
// [Dial] opens a Session and returns a [Conn], which is a net.Conn. If it
// forwards a port, [NewPort] carries connections over it: many at a time, by a
// [Mux], if it is Multiplexed.
//
// # Where things are
//
// Package core is the protocol without goroutines, locks or clocks. Events and
// the time go in, messages come out. Start reading there, then follow a message:
//
//	event in     link/link.go      reads from the WebSocket, link/frame.go finds the messages
//	             incoming.go       passes them to the core, holding Conn's lock
//	             conn.go           Write passes the program's bytes to the core
//	             supervise.go      writeLoop passes the time, attach reports a new link
//
//	core         core/stream.go    processes a message, returns what to write next
//	             core/message.go   encodes and decodes messages, core/ack.go acknowledgements
//	             core/receiver.go  puts messages into order, for Read in conn.go
//	             core/sender.go    numbers messages, keeps them until acknowledged
//	             core/loss.go      finds lost messages, to retransmit them
//	             core/window.go    limits how much is in flight, core/rtt.go for how long
//	             core/cipher.go    encrypts and decrypts the stream
//
//	message out  supervise.go      writeLoop takes messages from the core
//	             link/link.go      frames them and writes many at once
//
// The core delivers the agent's other messages in order with the stream;
// control in incoming.go handles them, with handshake.go and shell.go.
//
// supervise.go gives a Conn one link after another, with the first message of
// hello.go. Package link opens them and decides whether one is dead. attempt.go
// limits each attempt, close.go ends the Conn. silence.go decides whether the
// agent is gone. roam.go puts the link in doubt when the network changes. On top
// of a Conn, port.go and mux.go carry connections, many at a time by package mux.
// message.go, link.go and mux.go name what programs need of those packages.
package ssmproto
