// Package plugin implements AWS's session-manager-plugin, the program that the
// AWS CLI starts and passes a session to.
//
// It may use machine, forward, shell, stdio, tunnel and the rooms that know no
// cloud. Begin with [Run].
package plugin
