package shell

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// typeAll gives text in pieces to e, and returns what is sent and the escapes
// that are found, in between as <n>.
func typeAll(e *escapes, text string, piece func() int) string {
	var sent strings.Builder
	for len(text) > 0 {
		n := min(max(piece(), 1), len(text))
		p := []byte(text[:n])
		text = text[n:]
		for len(p) > 0 {
			var send []byte
			var found escape
			send, found, p = e.next(p)
			sent.Write(send)
			sent.WriteString([]string{"", "<end>", "<suspend>", "<help>"}[found])
		}
	}
	return sent.String()
}

func TestEscapes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ typed, want string }{
		{"ls\r", "ls\r"},
		{"~.", "<end>"},
		{"\r~.", "\r<end>"},
		{"ls\n~.", "ls\n<end>"},
		{"ls ~.", "ls ~."},
		{"~~.", "~."},
		{"~~~.", "~~."},
		{"\r~?\r", "\r<help>\r"},
		{"~?~.", "<help><end>"}, // still at the start of the line
		{"~a~.", "~a~."},
		{"~\r~.", "~\r<end>"},
		{"~/bin/x\r", "~/bin/x\r"},
		{"~\x1a", "<suspend>"},
		{"x~", "x~"},
		{"é\r~.", "é\r<end>"},
		{"\x1b[A~.", "\x1b[A~."},
		{"\x1b[200~a\r~.\r~?b\x1b[201~~.", "\x1b[200~a\r~.\r~?b\x1b[201~~."},
		{"\x1b[200~a\r\x1b[201~\r~.", "\x1b[200~a\r\x1b[201~\r<end>"},
		{"\x1b\x1b[200~\r~.\x1b[20\x1b[201~\r~.", "\x1b\x1b[200~\r~.\x1b[20\x1b[201~\r<end>"},
	} {
		for range 20 {
			if got := typeAll(&escapes{char: '~'}, tt.typed, func() int { return rand.IntN(6) }); got != tt.want {
				t.Errorf("%q became %q, want %q", tt.typed, got, tt.want)
			}
		}
		if got := typeAll(&escapes{}, tt.typed, func() int { return 9 }); got != tt.typed {
			t.Errorf("without escapes %q became %q", tt.typed, got)
		}
	}
	if got := typeAll(&escapes{char: 0x1d}, "~.\r\x1d?\x1d.", func() int { return 2 }); got != "~.\r<help><end>" {
		t.Errorf("with another character: %q", got)
	}
}

func TestParseEscape(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]byte{"~": '~', "none": 0, "^]": 0x1d, "^a": 1, "^A": 1, "%": '%', "^": '^'} {
		if got, err := ParseEscape(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "ab", "é", "^@", "^1", "\x00", "^ab"} {
		if got, err := ParseEscape(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}
