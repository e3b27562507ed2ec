package sshconfig

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Names are the host names that already mean something on this machine: those in
// the user's and the system's ssh configuration, hosts with known keys, and the
// names in the hosts file. Case is ignored. A nil *Names is empty.
type Names struct {
	hosts    map[string]bool // of Host lines, without patterns
	others   map[string]bool // that a configuration leads to or through
	patterns []string
	keys     knownHosts
	local    map[string]bool // of the hosts file, and this machine's own
	cut      bool
}

// Cut reports whether reading stopped at a limit.
func (n *Names) Cut() bool { return n.cut }

const noteNamed = "Its name is a host in your own configuration."

// named reports whether a Host line contains name, which is in lower case,
// literally.
func (n *Names) named(name string) bool { return n != nil && n.hosts[name] }

// meaning returns what a name, in lower case, already means, or "".
func (n *Names) meaning(name string) string {
	switch {
	case n == nil:
		return ""
	case n.hosts[name], n.others[name]:
		return noteNamed
	case n.keys.has(name):
		return "Its name is a host whose key you know."
	case n.local[name]:
		return "Its name is a host in this machine's hosts file."
	}
	for _, p := range n.patterns {
		if matchPattern(p, name) {
			return "Its name matches a pattern in your own configuration."
		}
	}
	return ""
}

// ReadNames reads the names for the user with that home directory. It skips files
// that cannot be read.
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
	r.once(filepath.Join(user, FileName)) // it will be rewritten
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

// add processes a line of a configuration. It returns the files with host keys
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
		// If a jump host's name led to another machine, that would see all traffic.
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

// pattern processes a word of a Host or Match line. It ignores words that match
// all hosts. A word that excludes a host counts, since its author knows the host.
func (n *Names) pattern(word string, names map[string]bool) {
	word = strings.ToLower(strings.TrimPrefix(word, "!"))
	switch {
	case !strings.ContainsAny(word, "*?"):
		names[word] = true
	case hasLetter(word):
		n.patterns = append(n.patterns, word)
	}
}

// other adds the host of a word that may be [ssh://][USER@]HOST[:PORT].
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

// matchPattern reports whether a name matches a pattern of * and ?, in time
// proportional to at most the product of their lengths.
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
