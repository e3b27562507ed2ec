// Package stdio pipes a process's stdin and stdout over a connection, as ssh wants
// it of its ProxyCommand, and is where commands print: it tells a reader that has
// gone from an output that cannot be written, and sets the Go runtime for a
// process that is one stream.
//
// It may use ssmproto/rawio only. Begin with [Copy] and [Output].
package stdio
