package safetext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxSaid is how many characters of outside text are shown. The longest useful
// message from AWS, about a missing permission, has about 350.
const MaxSaid = 400

// Said makes outside text fit for use within a line of our own.
func Said(text string) string {
	return strings.TrimRight(Cut(text, MaxSaid), ". \n")
}

// Cut hides secrets in a text and then shortens it to n characters. The order
// matters: a truncated secret would not be recognized.
func Cut(text string, n int) string {
	text = hide(text)
	if len(text) <= n {
		return text
	}
	if runes := []rune(text[:min(len(text), utf8.UTFMax*(n+1))]); len(runes) > n {
		return strings.TrimSpace(string(runes[:n])) + "…"
	}
	return text
}

// MaxLine is the maximum number of characters in a line, which may contain
// several outside texts and our own lists.
const MaxLine = 4000

// Printable makes text safe for people and logs: text from a service or an
// agent cannot break out of its line or control the terminal, the line's length
// is limited, and secrets are hidden.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, Cut(s, MaxLine))
}
