package ssmproto

import (
	"strings"
	"unicode/utf8"
)

// maxText is how many bytes are kept of text from outside. Messages of services
// and agents for people are shorter.
const maxText = 400

// clip shortens text from outside to a length that people can read.
func clip(s string) string { return clipTo(s, maxText) }

func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for back := n - utf8.UTFMax; n > max(back, 0) && !utf8.RuneStart(s[n]); {
		n-- // not within a character
	}
	return strings.TrimSpace(s[:n]) + "…"
}
