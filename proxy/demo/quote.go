package demo

import (
	"fmt"
	"path/filepath"
	"strings"
)

// checkPath refuses the few names that an ssh config cannot say: its quotes
// cannot be escaped in all versions of OpenSSH, and "${" always means a
// variable. They come from TMPDIR, so the user can change it.
func checkPath(path string) error {
	if strings.ContainsAny(path, "\"\n\r") || strings.Contains(path, "${") ||
		filepath.Separator == '/' && strings.Contains(path, `\`) {
		return fmt.Errorf("the temporary directory %q has characters in its name that ssh's config cannot hold: set TMPDIR to another", path)
	}
	return nil
}

// configQuote is a path as an argument in an ssh config that knows %-tokens.
func configQuote(path string) string {
	return `"` + doublePercent(filepath.ToSlash(path)) + `"`
}

// doublePercent keeps ssh from taking a % for the start of a token.
func doublePercent(s string) string { return strings.ReplaceAll(s, "%", "%%") }
