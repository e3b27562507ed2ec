package table

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Screen is the destination of a list, with its capabilities.
type Screen struct {
	Out    io.Writer
	Width  int  // in terminal columns; 0 if it is not a terminal, and nothing is shortened
	Colour bool // by ECMA-48 sequences
	JSON   bool // a line of JSON for each row instead of a table
}

// ScreenOf returns the Screen for f. It has colour if f is a terminal and the
// user has not disabled colour (no-color.org).
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
