// Package machine does what every command starts with: it finds the machine
// that a target names, opens sessions to it, pushes a key to it, and explains
// errors and how to fix them. The options that commands share are in [Options].
//
// It may import awsapi, inventory and the packages that are independent of the
// cloud, but no command. Start with [Client], and with [Options.Explain] for
// errors.
package machine
