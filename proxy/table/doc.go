// Package table shows lists as tables that fit the terminal, whatever their
// contents, or as lines of JSON.
//
// It may use proxy/safetext and proxy/stdio. Begin with [Table] and [ScreenOf].
package table
