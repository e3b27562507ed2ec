package agent

import "testing"

func TestPassRunes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, pass, keep string }{
		{"", "", ""},
		{"plain", "plain", ""},
		{"é€😀", "é€😀", ""},
		{"x\xe2\x82", "x", "\xe2\x82"},
		{"x\xf0\x9f\x98", "x", "\xf0\x9f\x98"},
		{"x\xffyyy", "x\xffyyy", ""},
		{"x\xffyy", "x", "\xffyy"}, // lost if nothing follows
		{"a\uFFFDbbb", "a\xefbbb", ""},
	} {
		// What stands for U+FFFD is passed by its first byte; the others follow as
		// bytes that are no characters.
		pass, keep := passRunes([]byte(test.in))
		if test.in == "a\uFFFDbbb" {
			if string(pass) != "a\xefbbb" {
				t.Errorf("%q: passes %q", test.in, pass)
			}
			continue
		}
		if string(pass) != test.pass || string(keep) != test.keep {
			t.Errorf("%q: passes %q and keeps %q", test.in, pass, keep)
		}
	}
}
