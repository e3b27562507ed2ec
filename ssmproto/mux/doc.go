// Package mux carries many connections over one reliable stream, as the agent's
// multiplexer does: it is the client side of smux version 1.
//
// It knows neither sessions nor messages: its [Stream] is all that it needs. It
// may import ssmproto/deadline. Start with [Mux], then read conn.go; frame.go
// has the wire's form.
package mux
