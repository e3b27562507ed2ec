// Package agent is a double of amazon-ssm-agent 3.3 that behaves like it message by
// message: it shakes hands, dials ports, multiplexes connections, runs shells and
// commands, and encrypts. An [Agent] works for one session of package ssmtest.
//
// It may use the message codec of ssmproto/core and package wire, and reaches the service
// only through [Service]. Start reading with agent.go, then input.go for
// incoming and outbox.go for outgoing messages; ports are in port.go and
// mux.go, shells and commands in program.go.
package agent
