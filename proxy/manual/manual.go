// Package manual holds the help pages. They are written by hand, but for what
// follows from the command line itself: lists of options and of commands stand
// where the text says @OPTIONS@ and @COMMANDS@.
package manual

import (
	"embed"
	"strings"
)

//go:embed *.txt
var pages embed.FS

// Item is an option or a command, and what it is for.
type Item struct{ Name, Use string }

// Page returns a command's page, or ssmpipe's own, with its list. It panics if
// there is no such page.
func Page(name string, items []Item) string {
	text, err := pages.ReadFile(name + ".txt")
	if err != nil {
		panic(err)
	}
	return strings.NewReplacer("@OPTIONS@\n", list(items, 30), "@COMMANDS@\n", list(items, 16)).Replace(string(text))
}

// width is how long a line is at the most, in characters.
const width = 80

// list writes items below each other, what they are for in a column of its own.
func list(items []Item, column int) string {
	var b strings.Builder
	for _, item := range items {
		line := "    " + item.Name
		for _, word := range strings.Fields(item.Use) {
			switch {
			case len(line) < column:
				line += strings.Repeat(" ", column-len(line)) + word
			case len(line)+1+len(word) > width:
				b.WriteString(line + "\n")
				line = strings.Repeat(" ", column) + word
			default:
				line += " " + word
			}
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
