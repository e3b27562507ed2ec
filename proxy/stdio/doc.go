// Package stdio pipes a process's stdin and stdout over a connection, as ssh
// expects of its ProxyCommand, and does what ssh needs besides: it pushes a key,
// and makes its directories. It also provides the output for commands, which
// distinguishes a reader that has gone from an output that cannot be written,
// and tunes the Go runtime for a process that only pipes one stream.
//
// It may use machine, keys, ssmproto/rawio and the rooms that know no cloud.
// Begin with [Connect], [Copy] and [Output].
package stdio
