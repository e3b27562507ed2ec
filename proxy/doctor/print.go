package doctor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

// Style says how to show findings to people.
type Style struct {
	Marks bool // use non-ASCII marks instead of words
	Color bool
}

// StyleFor returns the style for f. It uses marks if f is a terminal and the
// locale's encoding is UTF-8.
func StyleFor(f *os.File) Style {
	screen := table.ScreenOf(f, false)
	locale := strings.ToLower(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	return Style{
		Marks: screen.Width > 0 && os.Getenv("TERM") != "dumb" &&
			(runtime.GOOS == "windows" || strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")),
		Color: screen.Colour,
	}
}

// looks has the mark, word and colour of each status.
var looks = map[Status]struct{ mark, word, color string }{
	StatusOK:      {"✓", "ok     ", "\x1b[32m"},
	StatusWarning: {"!", "warning", "\x1b[33m"},
	StatusFailed:  {"✗", "FAILED ", "\x1b[31m"},
	StatusSkipped: {"-", "skipped", "\x1b[2m"},
}

// Printer returns a function that writes findings to w for people to read.
func Printer(w io.Writer, style Style) func(Finding) {
	return func(f Finding) {
		look := looks[f.Status]
		mark := look.word
		if style.Marks {
			mark = look.mark
		}
		if style.Color {
			mark = look.color + mark + "\x1b[0m"
		}
		fmt.Fprintf(w, "%s %s: %s\n", mark, f.Check, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(w, "    %s\n", f.Remedy)
		}
		if f.Allow != nil {
			statement, _ := json.Marshal(f.Allow) // only strings: cannot fail
			fmt.Fprintf(w, "    %s\n", safetext.Printable(string(statement)))
		}
	}
}

// Encoder returns a function that writes findings to w as JSON, one per line.
func Encoder(w io.Writer) func(Finding) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return func(f Finding) { e.Encode(f) }
}
