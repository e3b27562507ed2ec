package command

import (
	"embed"
	"strings"

	"github.com/urfave/cli/v2"
)

// The pages are written by hand, but for what follows from the command line
// itself: lists of options and of commands stand where the text says @OPTIONS@
// and @COMMANDS@.
//
//go:embed *.txt
var pages embed.FS

// item is an option or a command, and what it is for.
type item struct{ name, use string }

// page returns a command's page, or ssmpipe's own, with its list. It panics if
// there is no such page.
func page(name string, items []item) string {
	text, err := pages.ReadFile(name + ".txt")
	if err != nil {
		panic(err)
	}
	return strings.NewReplacer("@OPTIONS@\n", itemList(items, 30), "@COMMANDS@\n", itemList(items, 16)).Replace(string(text))
}

// width is how long a line is at the most, in characters.
const width = 80

// itemList writes items below each other, what they are for in a column of its own.
func itemList(items []item, column int) string {
	var b strings.Builder
	for _, i := range items {
		line := "    " + i.name
		for _, word := range strings.Fields(i.use) {
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

// options lists flags as the manual does. A flag's value is named in its usage
// text in backquotes; that of a generic flag may be left out.
func options(flags []cli.Flag) (items []item) {
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok || doc.GetUsage() == "" {
			continue
		}
		name := "--" + f.Names()[0]
		if len(f.Names()[0]) == 1 {
			name = name[1:]
		}
		use := doc.GetUsage()
		if before, rest, ok := strings.Cut(use, "`"); ok {
			value, after, _ := strings.Cut(rest, "`")
			if _, optional := f.(*cli.GenericFlag); optional {
				name += "[=" + value + "]"
			} else {
				name += " " + value
			}
			use = before + value + after
		}
		items = append(items, item{name, use})
	}
	return items
}
