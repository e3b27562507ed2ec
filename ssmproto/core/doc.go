// Package core is the data channel's protocol without goroutines, locks, clocks
// and I/O: events and the time go in, messages come out.
//
// It imports nothing of this module. Start with [Stream] in stream.go, which has
// a sender (sender.go, with loss.go, window.go and rtt.go) and a receiver
// (receiver.go). message.go and ack.go have the form of the messages, cipher.go
// encrypts them.
package core
