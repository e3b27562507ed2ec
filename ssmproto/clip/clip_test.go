package clip

import (
	"testing"
	"unicode/utf8"
)

// FuzzTo: no character is cut, and nothing is longer than it may be.
func FuzzTo(f *testing.F) {
	f.Add("aß…", 2)
	f.Add("\xff\xff\xff\xff", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 1000 {
			return
		}
		got := To(s, n)
		if len(got) > max(n+len("…"), 0) && got != s || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q of %q", got, s)
		}
	})
}
