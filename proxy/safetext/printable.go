package safetext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxSaid is how many characters of a text from outside are shown. The longest
// that AWS says and people need, a missing permission, has some 350.
const MaxSaid = 400

// Said is a text from outside as it can stand in a line of ours.
func Said(text string) string {
	return strings.TrimRight(Cut(text, MaxSaid), ". \n")
}

// Cut hides secrets in a text and shortens it to n characters, in this order: a
// part of a secret would not be known for one.
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

// MaxLine is how many characters a line has at most: several texts from outside
// may be in it, and lists of ours.
const MaxLine = 4000

// Printable makes text fit for people and logs: what a service or an agent says
// does not break out of its line or command the terminal, the line has an end,
// and secrets are hidden.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, Cut(s, MaxLine))
}
