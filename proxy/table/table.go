package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/mattn/go-runewidth"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
)

// Table shows rows as they arrive. The first rows decide the columns: if the
// terminal is too narrow for all, the least important ones are left out. Columns
// grow with later rows as far as there is room, at the expense of the flexible
// ones.
type Table struct {
	Screen  *Screen
	Columns []Column
	Hidden  string // title of a column to omit; "" means none

	shown  []int // the Columns that are shown; nil before the first rows
	wanted []int // each column's width if there were room
}

// Column is a column of a table.
type Column struct {
	Title    string
	Flexible bool // shortened if there is no room
	Leave    int  // columns with lower numbers are left out first; 0 means never
}

// Row is a row of a table, or a line of JSON.
type Row struct {
	Cells []Cell // of all columns
	JSON  any
}

// Cell is the content of a row in one column.
type Cell struct {
	Text   string // need not be safe for a terminal
	Colour Colour
}

// Colour is the parameter of an SGR sequence (ECMA-48, 8.3.117).
type Colour string

// The colours that tables use.
const (
	Plain  Colour = ""
	Bold   Colour = "1"
	Dim    Colour = "2"
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
)

const (
	between    = 2  // spaces from column to column
	leastShown = 12 // minimum of flexible columns before others are left out
	leastWidth = 2  // their absolute minimum: a letter and the mark, or a wide mark
	absent     = "-"
)

// Print shows more rows in a single write. Its errors are those of
// [stdio.Output].
func (t *Table) Print(rows []Row) error {
	var b bytes.Buffer
	switch {
	case len(rows) == 0:
		return nil
	case t.Screen.JSON:
		for _, r := range rows {
			if err := appendJSON(&b, r.JSON); err != nil {
				return err
			}
		}
	default:
		t.layOut(&b, rows)
	}
	_, err := stdio.NewOutput(t.Screen.Out).Write(b.Bytes())
	return err
}

func (t *Table) layOut(b *bytes.Buffer, rows []Row) {
	first := t.shown == nil
	if first {
		t.wanted = make([]int, len(t.Columns))
		for i, c := range t.Columns {
			if c.Title != t.Hidden {
				t.shown = append(t.shown, i)
			}
			t.wanted[i] = len(c.Title)
		}
	}
	for _, r := range rows {
		for i := range t.Columns {
			c := &r.Cells[i]
			if c.Text = safetext.Printable(c.Text); strings.TrimSpace(c.Text) == "" {
				c.Text = absent
			}
			t.wanted[i] = max(t.wanted[i], runewidth.StringWidth(c.Text))
		}
	}
	if first {
		t.choose()
	}
	widths := t.fit()
	if first {
		var titles []Cell
		for _, c := range t.Columns {
			titles = append(titles, Cell{c.Title, Bold})
		}
		t.line(b, titles, widths)
	}
	for _, r := range rows {
		t.line(b, r.Cells, widths)
	}
}

// choose selects the columns for which there is room.
func (t *Table) choose() {
	if t.Screen.Width == 0 {
		return
	}
	for {
		total, worst := -between, -1
		for at, i := range t.shown {
			width := t.wanted[i]
			if t.Columns[i].Flexible {
				width = min(width, leastShown)
			}
			total += between + width
			if leave := t.Columns[i].Leave; leave > 0 && (worst < 0 || leave < t.Columns[t.shown[worst]].Leave) {
				worst = at
			}
		}
		if total <= t.Screen.Width || worst < 0 {
			return
		}
		t.shown = append(t.shown[:worst], t.shown[worst+1:]...)
	}
}

// fit returns column widths that fit the screen. The widest flexible column
// shrinks first.
func (t *Table) fit() []int {
	widths := append([]int(nil), t.wanted...)
	if t.Screen.Width == 0 {
		return widths
	}
	total := -between
	for _, i := range t.shown {
		total += between + widths[i]
	}
	for ; total > t.Screen.Width; total-- {
		widest := -1
		for _, i := range t.shown {
			if t.Columns[i].Flexible && widths[i] > leastWidth && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

func (t *Table) line(b *bytes.Buffer, cells []Cell, widths []int) {
	for at, i := range t.shown {
		c := cells[i]
		if at > 0 {
			b.WriteString(strings.Repeat(" ", between))
		}
		text := c.Text
		if t.Screen.Width > 0 && t.Columns[i].Flexible {
			text = runewidth.Truncate(text, widths[i], "…")
		}
		if t.Screen.Colour && c.Colour != Plain {
			fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", c.Colour, text)
		} else {
			b.WriteString(text)
		}
		if at < len(t.shown)-1 {
			b.WriteString(strings.Repeat(" ", max(0, widths[i]-runewidth.StringWidth(text))))
		}
	}
	b.WriteByte('\n')
}

// appendJSON appends v as a line. It escapes everything that is not safe for a
// terminal, which JSON leaves to the writer (RFC 8259, section 7).
func appendJSON(b *bytes.Buffer, v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	for _, r := range strings.TrimSuffix(line.String(), "\n") {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	return nil
}
