// Package demo is ssmpipe without an AWS account: a Session Manager service on
// loopback (package awstest), two instances behind it, i-0demo and i-0demo2,
// each with an SSH server of its own, and an ssh config that leads to them.
//
// The instances are this machine: commands run as the user who runs the demo,
// in a temporary home. Their SSH servers listen on loopback and let in one key,
// which is made at the start and removed at the end with all the rest.
package demo
