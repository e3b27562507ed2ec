package completion

import (
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/sshconfig"
)

// hostPlace is the place for a host in the last word of a command line.
type hostPlace struct {
	before string // the text before the host in the word: user@
	after  string // the text after it: a colon
	ok     bool   // the word may name a host
}

// hostCommands are other programs that take a machine's name, each with the
// function that finds the place for one.
var hostCommands = map[string]func(words []string) hostPlace{
	"ssh":   func(words []string) hostPlace { return loginPlace(words, "BbcDEeFIiJLlmOoPpQRSWw") },
	"sftp":  func(words []string) hostPlace { return loginPlace(words, "BbcDFiJlOoPRSsX") },
	"scp":   func(words []string) hostPlace { return copyPlace(words, "cDFiJloPSX") },
	"rsync": func(words []string) hostPlace { return copyPlace(words, "efTBM") },
}

// hosts returns the machines that a word of ssh, scp, sftp or rsync may name.
// These programs pass the name to shells, so few characters are allowed. A
// machine whose name could be that of another host is offered by its id,
// because ssh would connect to the other host.
func (a *asker) hosts(place func([]string) hostPlace, words []string) (list []candidate) {
	p := place(words)
	if !p.ok {
		return nil
	}
	cur := words[len(words)-1][len(p.before):]
	known := a.machines()
	found := machines(known, cur, func(text string) bool { return usableHost(text) && !sshconfig.OtherHost(text) })
	if name, _, ok := cutRegion(cur); ok && usableHost(name) {
		found = append(found, regions(name+"--")...)
	}
	for _, c := range found {
		list = append(list, candidate{value: p.before + c.value + p.after, help: c.help, open: p.after != ""})
	}
	return list
}

// loginPlace finds the host of a program that takes one host, followed by a
// command. valued are the letters of the options that take a value.
func loginPlace(words []string, valued string) hostPlace {
	last := len(words) - 1
	for i := 0; i < last; i++ {
		if !strings.HasPrefix(words[i], "-") {
			return hostPlace{} // the host is there already
		}
		if letter := wantsValue(words[i], valued); letter != 0 {
			if i++; i == last && letter != 'J' {
				return hostPlace{}
			}
		}
	}
	return place(words[last], "")
}

// copyPlace finds the host of a program that takes local and remote files.
func copyPlace(words []string, valued string) hostPlace {
	last := len(words) - 1
	if last > 0 && wantsValue(words[last-1], valued) != 0 || strings.ContainsAny(words[last], "/:") {
		return hostPlace{}
	}
	return place(words[last], ":")
}

// place splits off the text before a host: the user name, and for ssh -J other
// hosts.
func place(word, after string) hostPlace {
	if strings.HasPrefix(word, "-") {
		return hostPlace{}
	}
	i := strings.LastIndexAny(word, "@,")
	return hostPlace{before: word[:i+1], after: after, ok: true}
}

// wantsValue returns the option in a word of short options whose value is the
// next word, or 0.
func wantsValue(word, valued string) byte {
	if !strings.HasPrefix(word, "-") || strings.HasPrefix(word, "--") {
		return 0
	}
	i := strings.IndexAny(word[1:], valued)
	if i < 0 || i+2 < len(word) {
		return 0
	}
	return word[i+1]
}
