// Package safetext makes text fit for people and logs: one line, of a length that
// can be read, without what would command a terminal, and without secrets.
//
// All that ssmpipe prints goes through it. It may use nothing else of this
// module. Begin with [Printable].
package safetext
