// Package plugin is AWS's session-manager-plugin: the AWS CLI starts it by that name
// and hands it a session.
//
// It may use machine, forward, shell, stdio, tunnel and the rooms that know no
// cloud. Begin with [Run].
package plugin
