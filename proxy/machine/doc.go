// Package machine is what every command does first: it finds the machine that a
// target names, opens sessions to it, makes a key known to it, and says what went
// wrong and what helps. What commands have in common stands in [Options].
//
// It may use awsapi, inventory and the rooms that know no cloud, and no command.
// Begin with [Client], and [Options.Explain] for errors.
package machine
