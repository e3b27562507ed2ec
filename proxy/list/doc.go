// Package list prints what there is: machines, containers, and sessions, which it
// also ends.
//
// It may use machine, table and the rooms that know no cloud. Begin with
// [Machines] and [Sessions].
package list
