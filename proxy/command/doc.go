// Package command is ssmpipe's command line: it parses flags, calls the package
// that does the work, and turns the result into output and an exit status. It
// makes no other decisions.
//
// Each command has a file, with its manual page beside it: ls.go and ls.txt.
// Begin with [Main] and newApp in app.go, then read any command. The flags that
// commands share are in flags.go. This package may use all others; only main
// uses it.
package command
