// Package forward makes ports of a machine, or behind it, ports of this one: the
// grammar of -L and -D, listeners, SOCKS, and the lines about what comes and goes.
//
// It may use machine, tunnel, listen and the rooms that know no cloud. Begin with
// [Run].
package forward
