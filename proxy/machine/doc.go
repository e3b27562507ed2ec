// Package machine does what every command starts with, on any cloud: it finds
// the machine that a target names, starts it if asked to, opens sessions to it,
// tells the user about outages, and explains errors and how to fix them. The
// options that commands share are in [Options]. Everything that differs between
// clouds it asks of [Options.Driver].
//
// It may use driver, stream and the rooms that know no cloud. Begin with
// [Client], and with [Options.Explain] for errors.
package machine
