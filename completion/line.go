package completion

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// commandLine completes the last word of ssmpipe's own command line.
func (a *asker) commandLine(words []string) (list []candidate, files bool) {
	cur := words[len(words)-1]
	p := parse(a.app.Flags, words[:len(words)-1])
	if len(p.args) == 0 {
		if strings.HasPrefix(cur, "-") {
			return a.flags(a.app.Flags, a.app.HideHelp), false
		}
		return a.commands(), false
	}
	c := a.app.Command(p.args[0])
	if c == nil || c.Hidden {
		return nil, false
	}
	p = parse(c.Flags, p.args[1:])
	a.profile, a.region = p.values["profile"], p.values["region"]
	switch name, value, valued := strings.Cut(cur, "="); {
	case p.waiting != nil:
		return a.flagValue(p.waiting, "", cur)
	case len(p.args) > 0 || p.ended || !strings.HasPrefix(cur, "-"):
		return a.values(argument(c, p.given, len(p.args)), cur)
	case valued:
		if f := findFlag(c.Flags, name); f != nil {
			return a.flagValue(f, name+"=", value)
		}
		return nil, false
	}
	return a.flags(c.Flags, c.HideHelp), false
}

// parsed is the part of a line before the cursor.
type parsed struct {
	args    []string
	given   []string          // flags, by their first name
	values  map[string]string // the flags' values
	waiting cli.Flag          // the flag whose value comes next
	ended   bool              // no more flags follow
}

// parse reads words as the command line's parser does: flags end at the first
// argument.
func parse(flags []cli.Flag, words []string) parsed {
	p := parsed{values: map[string]string{}}
	for i, word := range words {
		switch name, value, valued := strings.Cut(word, "="); {
		case p.waiting != nil:
			p.values[p.waiting.Names()[0]] = word
			p.waiting = nil
		case word == "--":
			p.args, p.ended = words[i+1:], true
			p.given = append(p.given, word)
			return p
		case len(word) < 2 || word[0] != '-':
			p.args = words[i:]
			return p
		default:
			f := findFlag(flags, name)
			if f == nil { // maybe several short flags
				f = findFlag(flags, name[len(name)-1:])
			}
			if f == nil {
				continue
			}
			p.given = append(p.given, f.Names()[0])
			if valued {
				p.values[f.Names()[0]] = value
			} else if takesValue(f) {
				p.waiting = f
			}
		}
	}
	return p
}

func (a *asker) commands() (list []candidate) {
	for _, c := range a.app.Commands {
		if !c.Hidden {
			list = append(list, candidate{value: c.Name, help: clean(c.Usage)})
		}
	}
	return list
}

// flags returns the names of flags.
func (a *asker) flags(flags []cli.Flag, hideHelp bool) (list []candidate) {
	if !hideHelp && findFlag(flags, "help") == nil {
		flags = append(slices.Clone(flags), cli.HelpFlag)
	}
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			list = append(list, candidate{value: dashes + name, help: clean(strings.ReplaceAll(use(f), "`", ""))})
		}
	}
	return list
}

// flagValue completes a flag's value, which follows before in its word.
func (a *asker) flagValue(f cli.Flag, before, cur string) (list []candidate, files bool) {
	kind := value(f)
	if f.Names()[0] == "profile" {
		kind = "PROFILE"
	}
	if words := choices(f); words != nil {
		kind = strings.Join(words, "|")
	}
	list, files = a.values(kind, cur)
	if before == "" {
		return list, files
	}
	for i := range list {
		list[i].value = before + list[i].value
	}
	return list, false
}

// values completes a word that the manual writes as kind, which may be several
// kinds separated by |. Unknown kinds have no candidates.
func (a *asker) values(kind, cur string) (list []candidate, files bool) {
	for one := range strings.SplitSeq(kind, "|") {
		switch one {
		case "TARGET", "PATTERN":
			list = append(list, targets(a.machines(), cur)...)
		case "PORT":
			list = append(list, ports...)
		case "PROFILE":
			list = append(list, profiles()...)
		case "REGION":
			list = append(list, regions("")...)
		case "REGIONS":
			list = append(list, regionLists(cur)...)
		case "FILE", "PATH", "COMMAND", "ARG":
			files = true
		default:
			if one != "" && one == strings.ToLower(one) {
				list = append(list, candidate{value: one})
			}
		}
	}
	return list, files
}

// machines returns the cached machines, and has the list fetched again if it is
// not recent.
func (a *asker) machines() []driver.Machine {
	list, age, ok := a.known(machine.Options{Driver: aws.Driver{}, Account: driver.Account{Profile: a.profile, Region: a.region}})
	if !ok || age > freshFor {
		a.fresh(a.profile, a.region)
	}
	return list
}
