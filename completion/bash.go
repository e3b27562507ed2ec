package completion

import (
	"bufio"
	"io"
	"strings"
)

// bashLine is a command line in bash up to the cursor.
type bashLine struct {
	words []string // without quotes; the last is the one at the cursor
	kept  string   // what of the last stays on the line, without quotes
	quote rune     // the quote that is open at the cursor, or 0
}

// splitBash splits a line as bash does, but for what it would expand. Readline
// replaces only text, the end of the last word: to it a word begins after a
// colon, an equals sign or whatever else is in COMP_WORDBREAKS.
func splitBash(line, text string) bashLine {
	var l bashLine
	var word strings.Builder
	inWord, escaped := false, false
	replaced := len(line) - len(text)
	for i, r := range line {
		if i == replaced {
			l.kept = word.String()
		}
		switch {
		case escaped:
			if l.quote == '"' && !strings.ContainsRune("$`\"\\", r) {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && l.quote != '\'':
			escaped, inWord = true, true
		case l.quote != 0 && r == l.quote:
			l.quote = 0
		case l.quote == 0 && (r == '"' || r == '\''):
			l.quote, inWord = r, true
		case l.quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if inWord {
				l.words = append(l.words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if replaced == len(line) {
		l.kept = word.String()
	}
	l.words = append(l.words, word.String())
	return l
}

// write writes what COMPREPLY is to hold, a line each, and "/" alone where
// files may follow.
func (l bashLine) write(out io.Writer, list []candidate, files bool) error {
	w := bufio.NewWriter(out)
	for _, c := range list {
		rest, ok := strings.CutPrefix(c.value, l.kept)
		if !ok {
			continue
		}
		if rest, ok = quoteBash(rest, l.quote); ok {
			w.WriteString(rest + "\n")
		}
	}
	if files {
		w.WriteString("/\n")
	}
	return w.Flush()
}

// quoteBash quotes s for a line on which quote is open, if it can be.
func quoteBash(s string, quote rune) (string, bool) {
	if quote != 0 {
		// An exclamation mark cannot be escaped within double quotes.
		return s, !strings.ContainsAny(s, "'\"\\$`!")
	}
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 && !strings.ContainsRune(plain, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// plain characters mean nothing to a shell, wherever in a word they are.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+,-"
