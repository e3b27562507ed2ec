// Package list lists machines, containers and sessions, and can end sessions.
//
// It may use machine, table and the rooms that know no cloud. Begin with
// [Machines] and [Sessions].
package list
