// Package shell runs a remote shell on a local terminal, or a remote command
// whose output and exit status are returned.
//
// It may use machine, stdio, terminal and the rooms that know no cloud. Begin with
// [Run] and [Exec].
package shell
