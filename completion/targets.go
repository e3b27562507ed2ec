package completion

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// targets returns candidates for a target that begins with cur. If cur is
// empty, these are the names, and the ids of machines whose names cannot be
// used or are not unique.
func targets(list []driver.Machine, cur string) (found []candidate) {
	if name, _, ok := cutRegion(cur); ok {
		found = regions(name + "--")
	}
	if key, ok := strings.CutPrefix(cur, "tag:"); ok {
		return append(found, tags(list, key)...)
	}
	if strings.HasPrefix(cur, "asg:") {
		return append(found, groups(list)...)
	}
	found = append(found, machines(list, cur, usable)...)
	if cur == "" {
		return found
	}
	for _, i := range list {
		if usable(i.PrivateIP) && strings.HasPrefix(i.PrivateIP, cur) {
			found = append(found, candidate{value: i.PrivateIP, help: describe(&i, i.ID, i.Name)})
		}
		if usable(i.PrivateDNS) && strings.HasPrefix(cur, "ip-") {
			found = append(found, candidate{value: i.PrivateDNS, help: describe(&i, i.ID, i.Name)})
		}
	}
	if len(list) > 0 && strings.HasPrefix("tag:", cur) {
		found = append(found, candidate{value: "tag:", help: "tag:KEY=VALUE", open: true})
	}
	if strings.HasPrefix("asg:", cur) && len(groups(list)) > 0 {
		found = append(found, candidate{value: "asg:", help: "Auto Scaling group", open: true})
	}
	return found
}

// machines returns names for which ok returns true, and ids.
func machines(list []driver.Machine, cur string, ok func(string) bool) (found []candidate) {
	called := map[string]int{}
	for _, i := range list {
		called[i.Name]++
	}
	first := map[string]bool{}
	for _, i := range list {
		name := ok(i.Name) && !otherForm(i.Name)
		if name && !first[i.Name] {
			first[i.Name] = true
			help := describe(&i, i.ID, "")
			if n := called[i.Name]; n > 1 {
				help = plural(n, "machine")
			}
			found = append(found, candidate{value: i.Name, help: help})
		}
		if ok(i.ID) && (cur != "" || !name || called[i.Name] > 1) {
			found = append(found, candidate{value: i.ID, help: describe(&i, "", i.Name)})
		}
	}
	return found
}

// cutRegion splits a target at the last "--", which its region follows.
func cutRegion(target string) (name, region string, ok bool) {
	i := strings.LastIndex(target, "--")
	if i <= 0 {
		return target, "", false
	}
	return target[:i], target[i+2:], true
}

// groupTag is the tag that Auto Scaling puts on its instances.
const groupTag = "aws:autoscaling:groupName"

// groups returns the Auto Scaling groups of the machines.
func groups(list []driver.Machine) (found []candidate) {
	sizes := map[string]int{}
	for _, i := range list {
		sizes[i.Tags[groupTag]]++
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if usable(name) {
			found = append(found, candidate{value: "asg:" + name, help: plural(sizes[name], "machine")})
		}
	}
	return found
}

// tags returns tag keys, or, if a key has been typed, its values.
func tags(list []driver.Machine, typed string) (found []candidate) {
	key, _, valued := strings.Cut(typed, "=")
	if !valued {
		counts := map[string]int{}
		for _, i := range list {
			for k := range i.Tags {
				counts[k]++
			}
		}
		for _, k := range slices.Sorted(maps.Keys(counts)) {
			if usable(k) && !strings.Contains(k, "=") {
				found = append(found, candidate{value: "tag:" + k + "=", help: plural(counts[k], "machine"), open: true})
			}
		}
		return found
	}
	values := map[string][]*driver.Machine{}
	for i := range list {
		if v, ok := list[i].Tags[key]; ok {
			values[v] = append(values[v], &list[i])
		}
	}
	for _, v := range slices.Sorted(maps.Keys(values)) {
		if !usable(v) {
			continue
		}
		help := plural(len(values[v]), "machine")
		if one := values[v][0]; len(values[v]) == 1 {
			help = describe(one, one.ID, one.Name)
		}
		found = append(found, candidate{value: "tag:" + key + "=" + v, help: help})
	}
	return found
}

// otherForm reports whether name, used as a target, would not be taken as a
// name.
func otherForm(name string) bool {
	return targetForm.MatchString(name)
}

var targetForm = regexp.MustCompile(`^(m?i-[0-9A-Za-z]+$|ecs:|tag:|asg:|[0-9.]+$|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*$|[0-9A-Za-z-]+\.(ec2|[a-z0-9-]+\.compute)\.internal$)|--([a-z]{2}|eusc)(-[a-z]+)+-[0-9]{1,2}$`)

// usable reports whether text, which anyone may have written, can be put on a
// command line as it is or in quotes: it has only printable characters, does
// not look like an option, and does not confuse any shell's list of candidates.
func usable(text string) bool {
	return text != "" && len(text) <= 256 && text[0] != '-' && strings.TrimSpace(text) == text &&
		utf8.ValidString(text) && !strings.ContainsRune(text, '\\') &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// usableHost reports whether text is also safe as an argument of ssh, which
// passes it to shells.
func usableHost(text string) bool {
	return usable(text) && strings.Trim(text, hostCharacters) == ""
}

const hostCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// clean makes any text safe to display, on one short line.
func clean(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != '\\' && r != utf8.RuneError {
			return r
		}
		return ' '
	}, text)), " ")
	if runes := []rune(text); len(runes) > maxHelp {
		text = strings.TrimSpace(string(runes[:maxHelp-1])) + "…"
	}
	return text
}

// maxHelp is the maximum length of a description, which shares a line with a
// name.
const maxHelp = 60

// describe describes i, with its other names first.
func describe(i *driver.Machine, called ...string) string {
	var words []string
	for _, w := range append(called, i.State, agent(i), i.PrivateIP) {
		if w = clean(w); w != "" {
			words = append(words, w)
		}
	}
	return clean(strings.Join(words, ", "))
}

// agent returns the state of a machine's agent if it is worth mentioning: if
// the machine is running, but its agent is not online.
func agent(i *driver.Machine) string {
	if i.Ping != "" && !i.Online() && (i.State == "running" || i.State == "") {
		return "agent " + i.Ping
	}
	return ""
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
