package quote

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrCommand says that a command cannot be told to the far side.
var ErrCommand = errors.New("this command cannot be sent")

// Command is args as one line from which sh makes args again, and what the
// agent splits a line with where there is no shell. Words of plain characters
// stay as they are, for the records of the account, and for PowerShell.
func Command(args []string) (string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", fmt.Errorf("%w: it is empty", ErrCommand)
	}
	words := make([]string, len(args))
	for i, arg := range args {
		if !utf8.ValidString(arg) {
			return "", fmt.Errorf("%w: %q is not UTF-8, which the service requires", ErrCommand, arg)
		}
		words[i] = documentQuote(Word(arg))
	}
	// In the first place a shell takes more for its own.
	if words[0] == args[0] && (strings.Contains(args[0], "=") || slices.Contains(shellWords, args[0])) {
		words[0] = Shell(args[0])
	}
	return strings.Join(words, " "), nil
}

// shellWords are what a shell does not take for a command's name.
var shellWords = strings.Fields("if then elif else fi for while until do done case esac in time function select coproc")

// Plain is what no shell takes for more than it is.
var Plain = regexp.MustCompile(`^[0-9A-Za-z_@%+=:,./-]+$`)

// Word is s as one word of any shell that is like sh, quoted if it must be.
func Word(s string) string {
	if Plain.MatchString(s) {
		return s
	}
	return Shell(s)
}

// Shell is s as such a word, quoted.
func Shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// documentQuote keeps what is quoted from being taken for a parameter of the
// document, {{ name }}, which the agent puts values in for.
func documentQuote(quoted string) string {
	for strings.Contains(quoted, "{{") {
		quoted = strings.ReplaceAll(quoted, "{{", "{''{")
	}
	return quoted
}
