package sshconfig

import (
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// path is a path as ssh and shells on all systems take it: OpenSSH for Windows
// knows slashes as well, and in its configuration a backslash may be an escape.
func (o *Options) path(p string) string {
	if o.Windows {
		return strings.ReplaceAll(p, `\`, "/")
	}
	return filepath.ToSlash(p)
}

// Whatever is quoted below must read the same to all versions of ssh. Those
// before 8.7 know no escapes in their own quotes; later ones also look at the
// quotes in a ProxyCommand, and want them in pairs. %% is a % to all of them.

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// value is s as an argument of a keyword that knows %-tokens.
func (o *Options) value(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsAny(s, `"\`) || strings.Contains(s, "${") {
		return "", ErrOption // "${" always begins a variable's name
	}
	quoted := strings.ReplaceAll(s, "%", "%%")
	if !plain.MatchString(s) {
		quoted = `"` + quoted + `"`
	}
	return quoted, nil
}

// word is s as a word of a ProxyCommand. On Unix the user's shell reads it. On
// Windows nobody does but the program that is started: the line goes to
// CreateProcess as it is if it begins with a double quote.
func (o *Options) word(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) || o.Windows && strings.ContainsAny(s, `"\`) {
		return "", ErrOption
	}
	quoted := strings.ReplaceAll(s, "%", "%%")
	if o.Windows {
		return `"` + quoted + `"`, nil
	}
	if plain.MatchString(s) {
		return quoted, nil
	}
	// Double quotes, since ssh counts a single one after a backslash as escaped
	// and the shell does not.
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(quoted) + `"`, nil
}
