package table

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// twoColumns is a table of names, which may be shortened, and ids.
func twoColumns(width int) (*Table, *bytes.Buffer) {
	var b bytes.Buffer
	return &Table{Screen: &Screen{Out: &b, Width: width}, Columns: []Column{{Title: "NAME", Flexible: true}, {Title: "ID"}}}, &b
}

// TestTableGrows: what comes later is shortened only where there is no room.
func TestTableGrows(t *testing.T) {
	tab, b := twoColumns(60)
	page := func(name string) string {
		b.Reset()
		if err := tab.Print([]Row{{Cells: []Cell{{Text: name}, {Text: "i-0123456789abcdef0"}}}}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got, want := page("web-1"), "NAME   ID\nweb-1  i-0123456789abcdef0\n"; got != want {
		t.Errorf("first %q", got)
	}
	if got, want := page("a-longer-name"), "a-longer-name  i-0123456789abcdef0\n"; got != want {
		t.Errorf("later %q", got)
	}
	if got, want := page("web-2"), "web-2          i-0123456789abcdef0\n"; got != want {
		t.Errorf("after that %q", got)
	}
	if got, want := page(strings.Repeat("long", 20)), strings.Repeat("long", 9)+"lo…  i-0123456789abcdef0\n"; got != want {
		t.Errorf("too long %q", got)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestTableTellsThatItCannotBeWritten(t *testing.T) {
	full := errors.New("no space left on device")
	tab, _ := twoColumns(0)
	tab.Screen.Out = brokenWriter{full}
	if err := tab.Print([]Row{{Cells: make([]Cell, 2)}}); !errors.Is(err, full) {
		t.Error(err)
	}
}
