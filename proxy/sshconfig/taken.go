package sshconfig

import (
	"os"
	"path/filepath"
	"strings"
)

// TakenHosts returns a function that tells which host names the user's own
// configuration in home has a Host line for. What has a pattern only is not
// meant: "Host web-*" may well be about machines here.
func TakenHosts(home string) func(string) bool {
	taken := make(map[string]bool)
	dir := filepath.Join(home, ".ssh")
	readHosts(filepath.Join(dir, "config"), home, taken, 0)
	return func(host string) bool { return taken[host] }
}

// readHosts collects the hosts of a configuration and of those that it
// includes. What cannot be read has none.
func readHosts(name, home string, taken map[string]bool, depth int) {
	const deepest = 16 // ssh's own limit
	dir := filepath.Join(home, ".ssh")
	if depth > deepest || name == filepath.Join(dir, FileName) {
		return
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return
	}
	for line := range strings.Lines(strings.TrimPrefix(string(text), byteOrderMark)) {
		keyword, rest := splitLine(line)
		if keyword != "host" && keyword != "include" {
			continue
		}
		for _, word := range strings.Fields(strings.ReplaceAll(rest, `"`, " ")) {
			if keyword == "host" {
				taken[word] = !strings.ContainsAny(word, "*?!")
				continue
			}
			if after, ok := strings.CutPrefix(word, "~/"); ok {
				word = filepath.Join(home, after)
			}
			if !filepath.IsAbs(word) {
				word = filepath.Join(dir, word)
			}
			files, _ := filepath.Glob(word)
			for _, f := range files {
				readHosts(f, home, taken, depth+1)
			}
		}
	}
}
