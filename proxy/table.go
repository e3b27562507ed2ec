package proxy

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

// table shows rows as they come. What the columns are is decided by the first
// rows: in a terminal that is too narrow for all, those that matter least are
// left out. Columns grow with what comes later, as far as there is room; the
// flexible ones give way.
type table struct {
	screen  *Screen
	columns []column
	hidden  string // title of a column that is not wanted; "": none
	shown   []int  // those of columns that are; nil before the first rows
	wanted  []int  // each column's width if there were room for all
}

type column struct {
	title    string
	flexible bool // shortened where there is no room
	leave    int  // left out before those of greater numbers; 0: never
}

// row is a row of a table, or a line of JSON.
type row struct {
	cells []cell // of all columns
	json  any
}

type cell struct {
	text   string // anything
	colour colour
}

// colour is the parameter of an SGR sequence (ECMA-48, 8.3.117).
type colour string

const (
	plain  colour = ""
	bold   colour = "1"
	dim    colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

const (
	between    = 2  // spaces from column to column
	leastShown = 12 // what flexible columns are given before others are left out
	leastWidth = 2  // what is left of them at the worst: a letter and the mark, or a wide mark
	absent     = "-"
)

// print shows some more rows, by one write.
func (t *table) print(rows []row) error {
	var b bytes.Buffer
	switch {
	case len(rows) == 0:
		return nil
	case t.screen.JSON:
		for _, r := range rows {
			if err := appendJSON(&b, r.json); err != nil {
				return err
			}
		}
	default:
		t.layOut(&b, rows)
	}
	_, err := stdio.NewOutput(t.screen.Out).Write(b.Bytes())
	return err
}

func (t *table) layOut(b *bytes.Buffer, rows []row) {
	first := t.shown == nil
	if first {
		t.wanted = make([]int, len(t.columns))
		for i, c := range t.columns {
			if c.title != t.hidden {
				t.shown = append(t.shown, i)
			}
			t.wanted[i] = len(c.title)
		}
	}
	for _, r := range rows {
		for i := range t.columns {
			c := &r.cells[i]
			if c.text = safetext.Printable(c.text); strings.TrimSpace(c.text) == "" {
				c.text = absent
			}
			t.wanted[i] = max(t.wanted[i], runewidth.StringWidth(c.text))
		}
	}
	if first {
		t.choose()
	}
	widths := t.fit()
	if first {
		var titles []cell
		for _, c := range t.columns {
			titles = append(titles, cell{c.title, bold})
		}
		t.line(b, titles, widths)
	}
	for _, r := range rows {
		t.line(b, r.cells, widths)
	}
}

// choose leaves out what there is no room for.
func (t *table) choose() {
	if t.screen.Width == 0 {
		return
	}
	for {
		total, worst := -between, -1
		for at, i := range t.shown {
			width := t.wanted[i]
			if t.columns[i].flexible {
				width = min(width, leastShown)
			}
			total += between + width
			if leave := t.columns[i].leave; leave > 0 && (worst < 0 || leave < t.columns[t.shown[worst]].leave) {
				worst = at
			}
		}
		if total <= t.screen.Width || worst < 0 {
			return
		}
		t.shown = append(t.shown[:worst], t.shown[worst+1:]...)
	}
}

// fit returns the widths that there is room for: the widest of the flexible
// columns gives first.
func (t *table) fit() []int {
	widths := append([]int(nil), t.wanted...)
	if t.screen.Width == 0 {
		return widths
	}
	total := -between
	for _, i := range t.shown {
		total += between + widths[i]
	}
	for ; total > t.screen.Width; total-- {
		widest := -1
		for _, i := range t.shown {
			if t.columns[i].flexible && widths[i] > leastWidth && (widest < 0 || widths[i] > widths[widest]) {
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

func (t *table) line(b *bytes.Buffer, cells []cell, widths []int) {
	for at, i := range t.shown {
		c := cells[i]
		if at > 0 {
			b.WriteString(strings.Repeat(" ", between))
		}
		text := c.text
		if t.screen.Width > 0 && t.columns[i].flexible {
			text = runewidth.Truncate(text, widths[i], "…")
		}
		if t.screen.Colour && c.colour != plain {
			fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", c.colour, text)
		} else {
			b.WriteString(text)
		}
		if at < len(t.shown)-1 {
			b.WriteString(strings.Repeat(" ", max(0, widths[i]-runewidth.StringWidth(text))))
		}
	}
	b.WriteByte('\n')
}

// appendJSON adds v as a line. All that is not fit for a terminal is escaped,
// which JSON leaves to the writer (RFC 8259, section 7).
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
