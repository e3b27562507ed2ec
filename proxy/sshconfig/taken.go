package sshconfig

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Names are the host names that mean something on this machine already: what
// the user's and the system's configuration of ssh is about, the hosts whose
// keys are known, and those of the hosts file. Their case does not count. A nil
// *Names has none.
type Names struct {
	hosts    map[string]bool // of Host lines, without patterns
	others   map[string]bool // that a configuration leads to or through
	patterns []string
	keys     knownHosts
	local    map[string]bool // of the hosts file, and this machine's own
	cut      bool
}

// Cut says whether there was more to read than is ever read.
func (n *Names) Cut() bool { return n.cut }

const noteNamed = "Its name is a host in your own configuration."

// named says whether a Host line has the name, in lower case, as it is.
func (n *Names) named(name string) bool { return n != nil && n.hosts[name] }

// meaning says what a name, in lower case, means already, or returns "".
func (n *Names) meaning(name string) string {
	switch {
	case n == nil:
		return ""
	case n.hosts[name], n.others[name]:
		return noteNamed
	case n.keys.has(name):
		return "Its name is a host whose key you know."
	case n.local[name]:
		return "Its name is a host of this machine's hosts file."
	}
	for _, p := range n.patterns {
		if matchPattern(p, name) {
			return "Its name is one that your own configuration is about."
		}
	}
	return ""
}

// ReadNames reads them for the user with that home. What cannot be read has
// none.
func ReadNames(home string) *Names {
	system, hosts := "/etc/ssh", "/etc/hosts"
	if runtime.GOOS == "windows" {
		system = filepath.Join(os.Getenv("ProgramData"), "ssh")
		hosts = filepath.Join(os.Getenv("SystemRoot"), "System32", "drivers", "etc", "hosts")
	}
	n := readNames(home, system, hosts)
	if own, err := os.Hostname(); err == nil {
		own = strings.ToLower(own)
		n.local[own] = true
		short, _, _ := strings.Cut(own, ".")
		n.local[short] = true
	}
	return n
}

func readNames(home, system, hosts string) *Names {
	n := &Names{hosts: make(map[string]bool), others: make(map[string]bool), local: make(map[string]bool)}
	r := newReader(home)
	user := filepath.Join(home, ".ssh")
	r.once(filepath.Join(user, FileName)) // it is made anew
	known := []string{
		filepath.Join(user, "known_hosts"), filepath.Join(user, "known_hosts2"),
		filepath.Join(system, "ssh_known_hosts"), filepath.Join(system, "ssh_known_hosts2"),
	}
	add := func(keyword string, words []string) {
		if files := n.add(keyword, words); files != nil {
			known = append(known, r.paths(files)...)
		}
	}
	r.config(filepath.Join(user, "config"), user, add)
	r.config(filepath.Join(system, "ssh_config"), system, add)
	for _, name := range known {
		n.keys.add(r.read(name))
	}
	for line := range bytes.Lines(r.read(hosts)) {
		line, _, _ = bytes.Cut(line, []byte("#"))
		for i, word := range strings.Fields(strings.ToLower(string(line))) {
			if i > 0 { // the first is the address
				n.local[strings.TrimSuffix(word, ".")] = true
			}
		}
	}
	n.cut = r.cut
	return n
}

// add takes a line of a configuration. It returns the files with hosts' keys
// that the line names.
func (n *Names) add(keyword string, words []string) (files []string) {
	switch keyword {
	case "host":
		for _, word := range words {
			n.pattern(word, n.hosts)
		}
	case "match":
		for i := 0; i+1 < len(words); i++ {
			switch strings.TrimPrefix(strings.ToLower(words[i]), "!") {
			case "host", "originalhost":
				i++
				for word := range strings.SplitSeq(words[i], ",") {
					n.pattern(word, n.others)
				}
			}
		}
	case "hostname", "hostkeyalias", "proxyjump", "proxycommand":
		// A jump host that is somebody else's machine would see it all.
		for _, word := range words {
			for hop := range strings.SplitSeq(word, ",") {
				n.other(hop)
			}
		}
	case "port":
		for _, word := range words {
			n.keys.port(word)
		}
	case "userknownhostsfile", "globalknownhostsfile":
		return words
	}
	return nil
}

// pattern takes a word of a Host or Match line. Those that are about all hosts
// say nothing about one; what a line excludes is a host that its writer knows.
func (n *Names) pattern(word string, names map[string]bool) {
	word = strings.ToLower(strings.TrimPrefix(word, "!"))
	switch {
	case !strings.ContainsAny(word, "*?"):
		names[word] = true
	case hasLetter(word):
		n.patterns = append(n.patterns, word)
	}
}

// other takes what may be [ssh://][USER@]HOST[:PORT].
func (n *Names) other(word string) {
	word = strings.TrimPrefix(strings.ToLower(word), "ssh://")
	word = word[strings.LastIndexByte(word, '@')+1:]
	word, port, _ := strings.Cut(strings.Trim(word, "[]/"), ":")
	n.keys.port(port)
	if word != "" {
		n.others[strings.TrimSuffix(word, ".")] = true
	}
}

func hasLetter(word string) bool {
	return strings.ContainsFunc(word, func(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r > 0x7f })
}

// matchPattern says whether a name matches a pattern of * and ?, in time that
// is at most the product of their lengths.
func matchPattern(pattern, name string) bool {
	p, i := 0, 0
	star, from := -1, 0 // where to go on if it fails
	for i < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
