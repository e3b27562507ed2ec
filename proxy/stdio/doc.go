// Package stdio pipes a process's stdin and stdout over a connection, as ssh
// expects of its ProxyCommand. It also provides the output for commands, which
// distinguishes a reader that has gone from an output that cannot be written,
// and tunes the Go runtime for a process that only pipes one stream.
//
// It may import proxy/machine, proxy/stream and ssmproto/rawio. Start with
// [Copy] and [Output].
package stdio
