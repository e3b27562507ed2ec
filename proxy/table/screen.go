package table

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Screen is where a list is shown, and what can be shown there.
type Screen struct {
	Out    io.Writer
	Width  int  // in columns of a terminal; 0: it is none, and nothing is shortened
	Colour bool // by ECMA-48's sequences
	JSON   bool // a line of JSON for each row, in place of a table
}

// ScreenOf returns what f can show. Colour is for terminals, and for people who
// have not asked for none (no-color.org).
func ScreenOf(f *os.File, asJSON bool) Screen {
	s := Screen{Out: f, JSON: asJSON}
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return s
	}
	s.Width = 80
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		s.Width = width
	}
	s.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && takesColour(f)
	return s
}
