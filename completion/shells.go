package completion

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// writeZsh writes candidates in the format of _describe, with "+" before those
// that a space follows and "-" before those that are open; "/" alone means that
// files may follow.
func writeZsh(out io.Writer, list []candidate, files bool) error {
	w := bufio.NewWriter(out)
	for _, c := range list {
		mark := "+"
		if c.open {
			mark = "-"
		}
		w.WriteString(mark + strings.ReplaceAll(c.value, ":", `\:`))
		if c.help != "" {
			w.WriteString(":" + c.help)
		}
		w.WriteString("\n")
	}
	if files {
		w.WriteString("/\n")
	}
	return w.Flush()
}

// writeFish writes candidates in fish's format. Fish tells open ones by their
// last character. "/" alone means that files may follow.
func writeFish(out io.Writer, list []candidate, files bool) error {
	w := bufio.NewWriter(out)
	for _, c := range list {
		w.WriteString(c.value + "\t" + c.help + "\n")
	}
	if files {
		w.WriteString("/\n")
	}
	return w.Flush()
}

// splitPowerShell decodes words from PowerShell. They are encoded because
// PowerShell drops empty arguments and breaks those with quotes.
func splitPowerShell(encoded string) ([]string, error) {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	words := strings.Split(string(text), "\n")
	last := len(words) - 1
	// The word at the cursor is as it was typed.
	if cur := words[last]; cur != "" && strings.Contains(`"'`, cur[:1]) {
		words[last] = strings.TrimSuffix(cur[1:], cur[:1])
	}
	return words, nil
}

// writePowerShell writes JSON in ASCII, because the console's code page is not
// known. If there are no candidates, PowerShell completes files by itself.
func writePowerShell(out io.Writer, list []candidate, _ bool) error {
	type result struct {
		Text string `json:"text"` // for the line
		Item string `json:"item"` // for the menu
		Help string `json:"help"`
	}
	results := []result{}
	for _, c := range list {
		help := c.help
		if help == "" {
			help = c.value // must not be empty
		}
		results = append(results, result{quotePowerShell(c.value), c.value, help})
	}
	text, err := json.Marshal(results)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	for _, r := range string(text) {
		writeASCII(w, r)
	}
	w.WriteString("\n")
	return w.Flush()
}

// quotePowerShell quotes a word that has characters with a meaning in
// PowerShell. PowerShell treats typographic quotes as quotes.
func quotePowerShell(s string) string {
	if strings.Trim(s, plain) == "" && !strings.ContainsAny(s, "@%,") {
		return s
	}
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

// writeASCII writes a character of JSON text, escaped if necessary.
func writeASCII(w *bufio.Writer, r rune) {
	if r < 0x80 {
		w.WriteRune(r)
		return
	}
	for _, unit := range utf16.AppendRune(nil, r) {
		fmt.Fprintf(w, `\u%04x`, unit)
	}
}
