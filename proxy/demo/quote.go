package demo

import (
	"fmt"
	"path/filepath"
	"strings"
)

// checkPath rejects the few names that an ssh config cannot express: quotes cannot
// be escaped in all versions of OpenSSH, and "${" always begins a variable. Such
// names come from TMPDIR, which the user can change.
func checkPath(path string) error {
	if strings.ContainsAny(path, "\"\n\r") || strings.Contains(path, "${") ||
		filepath.Separator == '/' && strings.Contains(path, `\`) {
		return fmt.Errorf("the temporary directory %q has characters in its name that an ssh configuration cannot contain: set TMPDIR to another", path)
	}
	return nil
}

// configQuote quotes a path as an argument of a keyword that accepts %-tokens.
func configQuote(path string) string {
	return `"` + doublePercent(filepath.ToSlash(path)) + `"`
}

// doublePercent keeps ssh from taking a % for the start of a token.
func doublePercent(s string) string { return strings.ReplaceAll(s, "%", "%%") }
