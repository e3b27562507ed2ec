// Package demo runs ssmpipe without an AWS account: a Session Manager service on
// loopback (package awstest), two instances behind it, i-0demo and i-0demo2, each
// with its own SSH server, and an ssh config to connect to them.
//
// The instances are this machine: commands run as the user who runs the demo,
// in a temporary home. Their SSH servers listen on loopback and accept a single
// key, which is created at the start and removed, with everything else, at the
// end.
package demo
