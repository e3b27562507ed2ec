// Package clip shortens text from outside, from services, agents and proxies,
// to a length that people can read. It imports nothing of this module.
package clip

import (
	"strings"
	"unicode/utf8"
)

// MaxText is how many bytes Text keeps. Messages of services and agents for
// people are shorter.
const MaxText = 400

// Text shortens s to MaxText bytes. An ellipsis says so.
func Text(s string) string { return To(s, MaxText) }

// To shortens s to n bytes, or a few less so as not to cut a character. An
// ellipsis, which is not counted, says so.
func To(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for back := n - utf8.UTFMax; n > max(back, 0) && !utf8.RuneStart(s[n]); {
		n-- // not within a character
	}
	return strings.TrimSpace(s[:n]) + "…"
}
