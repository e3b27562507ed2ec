// Package tunnel carries programs' connections over sessions: it keeps sessions
// up or starts them when they are needed, spreads connections over them, and
// gives up those whose machine no longer answers.
//
// It may use proxy/stream only, and knows no service. Begin with [Tunnel], then
// see lane.go for one session, demand.go for sessions started on demand,
// silence.go for machines that do not answer, and relay.go for copying to and
// from a program's connection.
package tunnel
