package shell

import (
	"bytes"
	"fmt"

	"github.com/ssmpipe/ssmpipe/proxy/terminal"
)

// escapes finds escape sequences in typed input, as ssh does: the escape
// character at the start of a line and the character after it. With them the user
// can leave a session that no longer answers. Pasted text is not searched if
// the terminal marks it as pasted.
type escapes struct {
	char byte // 0 means that there are no escapes

	midLine bool
	pending bool // char has come
	pasting bool
	matched int // bytes matched of a mark that begins or ends a paste
}

// escape is the meaning of an escape sequence.
type escape int

const (
	escapeNone escape = iota
	escapeEnd
	escapeSuspend
	escapeHelp
)

// Marks that terminals put around pasted text if the far side has asked for them.
const (
	pasteStart = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// next returns the part of p to send to the far side, up to an escape or the end
// of p; the escape, if any; and the rest of p.
func (e *escapes) next(p []byte) (send []byte, found escape, rest []byte) {
	if e.char == 0 {
		return p, escapeNone, nil
	}
	if !e.pending && e.midLine && e.matched == 0 && !bytes.ContainsAny(p, "\r\n\x1b") {
		return p, escapeNone, nil
	}
	send = make([]byte, 0, len(p)+1)
	for i, b := range p {
		switch {
		case e.pending:
			e.pending = false
			switch {
			case b == '.':
				return send, escapeEnd, p[i+1:]
			case b == 'Z'&0x1f && terminal.CanSuspend:
				return send, escapeSuspend, p[i+1:]
			case b == '?':
				return send, escapeHelp, p[i+1:]
			case b != e.char:
				send = append(send, e.char)
			}
		case b == e.char && !e.midLine && !e.pasting:
			e.pending = true
			continue
		}
		send = append(send, b)
		e.midLine = b != '\r' && b != '\n'
		e.paste(b)
	}
	return send, escapeNone, nil
}

// paste looks for the marks that begin and end a paste.
func (e *escapes) paste(b byte) {
	mark := pasteStart
	if e.pasting {
		mark = pasteEnd
	}
	switch {
	case b != mark[e.matched]:
		e.matched = 0
		if b == mark[0] {
			e.matched = 1
		}
	case e.matched == len(mark)-1:
		e.matched = 0
		e.pasting = !e.pasting
	default:
		e.matched++
	}
}

// help returns the list of escapes, for a terminal in raw mode.
func (e *escapes) help() string {
	c := caret(e.char)
	text := fmt.Sprintf("%s?\r\nAt the start of a line:\r\n %s.  ends the session\r\n", c, c)
	if terminal.CanSuspend {
		text += fmt.Sprintf(" %s^Z suspends ssmpipe\r\n", c)
	}
	return text + fmt.Sprintf(" %s?  shows this\r\n %s%s  sends %s\r\n", c, c, c, c)
}

// caret returns a control character in the form ^X.
func caret(b byte) string {
	if b < 0x20 {
		return "^" + string(rune(b|0x40))
	}
	return string(rune(b))
}

// ParseEscape parses an escape character as ssh's -e does: a character, ^ and a
// letter, or "none", for which it returns 0.
func ParseEscape(text string) (byte, error) {
	switch {
	case text == "none":
		return 0, nil
	case len(text) == 1 && text[0] > 0 && text[0] < 0x80:
		return text[0], nil
	case len(text) == 2 && text[0] == '^' && text[1] > '?' && text[1] < 0x80 && text[1]&0x1f > 0:
		return text[1] & 0x1f, nil
	}
	return 0, fmt.Errorf("an escape character is an ASCII character, ^ and a letter, or none, not %q", text)
}
