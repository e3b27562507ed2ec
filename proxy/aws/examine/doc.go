// Package examine has AWS's part of "ssmpipe doctor": checks of the
// configuration, the credentials, the endpoints, the permissions, the machine
// and its agent, and of how far a session gets.
//
// It may use awsapi, inventory and the rooms that know no cloud. Begin with
// [Checks].
package examine
