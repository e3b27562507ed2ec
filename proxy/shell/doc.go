// Package shell is a shell on a terminal here, and a command whose output and exit
// status come back.
//
// It may use machine, stdio, terminal and the rooms that know no cloud. Begin with
// [Run] and [Exec].
package shell
