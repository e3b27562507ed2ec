package completion

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Commands and flags, with their descriptions, come from the definitions that
// parse them; a flag's usage text names its value in backquotes. A command's
// arguments come from the SYNOPSIS of its manual page.

// value returns the manual's name for a flag's value, such as NAME or TARGET.
func value(f cli.Flag) string {
	_, rest, _ := strings.Cut(use(f), "`")
	name, _, _ := strings.Cut(rest, "`")
	return name
}

// use returns the manual's text for a flag.
func use(f cli.Flag) string {
	if d, ok := f.(cli.DocGenerationFlag); ok {
		return d.GetUsage()
	}
	return ""
}

// choices returns the words that a flag's value may be, if the manual's text
// ends with them: "newest, oldest or any".
func choices(f cli.Flag) (list []string) {
	if m := lastChoices.FindStringSubmatch(use(f)); m != nil {
		list = append(strings.Split(m[1], ", "), m[2])
	}
	return list
}

var lastChoices = regexp.MustCompile(`: ([a-z-]+(?:, [a-z-]+)*) or ([a-z-]+)$`)

// A usage is one line of a SYNOPSIS.
type usage struct {
	flags []string // the flags in it
	args  []string // the arguments: TARGET, PORT, a|b
	more  bool     // the last argument may be repeated
}

// synopsis returns the usages of a command.
func synopsis(c *cli.Command) (list []usage) {
	_, text, _ := strings.Cut(c.CustomHelpTemplate, "SYNOPSIS\n")
	text, _, _ = strings.Cut(text, "\n\n")
	for line := range strings.Lines(text) {
		words := strings.Fields(strings.ReplaceAll(line, " | ", "|"))
		if len(words) < 2 || words[1] != c.Name {
			continue
		}
		var u usage
		flag := false // the previous word is a flag that takes a value
		for _, word := range words[2:] {
			word, more := strings.CutSuffix(word, "...")
			word = strings.Trim(word, "[]")
			name, isFlag := strings.CutPrefix(word, "-")
			switch {
			case flag:
				flag = false
			case word == "OPTION":
			case word == "--":
				u.flags = append(u.flags, word)
			case isFlag:
				f := findFlag(c.Flags, name)
				flag = f != nil && takesValue(f)
				u.flags = append(u.flags, strings.TrimPrefix(name, "-"))
			default:
				u.args = append(u.args, word)
				u.more = more
			}
		}
		list = append(list, u)
	}
	return list
}

// argument returns the kind of the nth argument, from the line of the synopsis
// that best matches the given flags; of several that match equally, the one
// with the most arguments.
func argument(c *cli.Command, given []string, n int) string {
	var best usage
	most := math.MinInt
	for _, u := range synopsis(c) {
		fit := 0
		for _, f := range u.flags {
			if slices.Contains(given, f) {
				fit++
			} else {
				fit--
			}
		}
		if fit > most || fit == most && len(u.args) > len(best.args) {
			best, most = u, fit
		}
	}
	switch {
	case n < len(best.args):
		return best.args[n]
	case best.more && len(best.args) > 0:
		return best.args[len(best.args)-1]
	}
	return ""
}

// findFlag finds a flag by its name, with or without dashes.
func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), strings.TrimLeft(name, "-")) {
			return f
		}
	}
	return nil
}

// takesValue reports whether the word after a flag is its value. An optional
// value is never a separate word.
func takesValue(f cli.Flag) bool {
	if g, ok := f.(*cli.GenericFlag); ok {
		b, ok := g.Value.(interface{ IsBoolFlag() bool })
		return !ok || !b.IsBoolFlag()
	}
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
