// Package safetext makes text safe for people and logs: one line of readable
// length, without terminal control sequences and without secrets.
//
// All output of ssmpipe goes through it. It imports no other package of this
// module. Start with [Printable].
package safetext
