package sshconfig

import (
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// path returns a path in a form that ssh and shells on all systems accept.
// OpenSSH for Windows accepts slashes too, while a backslash in its configuration
// may be an escape.
func (o *Options) path(p string) string {
	if o.Windows {
		return strings.ReplaceAll(p, `\`, "/")
	}
	return filepath.ToSlash(p)
}

// All versions of ssh must read the quoted text below alike. Those before 8.7
// have no escapes inside quotes; later ones also parse the quotes in a
// ProxyCommand and require them in pairs. All of them read %% as %.

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// value quotes s as an argument of a keyword that accepts %-tokens.
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

// word quotes s as a word of a ProxyCommand. On Unix the user's shell parses it.
// On Windows only the program that is started does: a line that begins with a
// double quote is passed to CreateProcess unchanged.
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
	// Use double quotes, since ssh treats a single quote after a backslash as
	// escaped and the shell does not.
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(quoted) + `"`, nil
}
