package completion

import (
	"bufio"
	"io"
	"strings"
)

// bashLine is a command line in bash up to the cursor.
type bashLine struct {
	words []string // without quotes; the last is the one at the cursor
	kept  string   // the part of the last word that stays on the line, without quotes
	quote rune     // the quote that is open at the cursor, or 0
}

// splitBash splits a line as bash does, but without expansions. Readline
// replaces only text, the end of the last word: for readline a word begins
// after a colon, an equals sign or any other character in COMP_WORDBREAKS.
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

// write writes the words for COMPREPLY, one per line, and "/" alone if files
// may follow.
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

// quoteBash quotes s for a line on which quote is open. It returns false if
// that is not possible.
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

// plain characters have no special meaning in a shell, anywhere in a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+,-"
