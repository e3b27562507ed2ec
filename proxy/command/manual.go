package command

import (
	"embed"
	"strings"

	"github.com/urfave/cli/v2"
)

// The pages are written by hand, except for the lists of options and commands,
// which replace @OPTIONS@ and @COMMANDS@ in the text.
//
//go:embed *.txt
var pages embed.FS

// item is an option or a command, with its purpose.
type item struct{ name, use string }

// page returns the page of a command, or of ssmpipe itself, with its list of items.
// It panics if there is no such page.
func page(name string, items []item) string {
	text, err := pages.ReadFile(name + ".txt")
	if err != nil {
		panic(err)
	}
	return strings.NewReplacer("@OPTIONS@\n", itemList(items, 30), "@COMMANDS@\n", itemList(items, 16)).Replace(string(text))
}

// width is the maximum length of a line, in characters.
const width = 80

// itemList formats items one per line, with their purposes in a second column.
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

// options returns flags as items of the manual. A flag's value is named in
// backquotes in its usage text; the value of a generic flag is optional.
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
