package sshconfig

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// Limits on reading ssh's files. A configuration that includes itself is read
// only once.
const (
	maxDepth    = 16       // of Include; ssh's own limit
	maxFiles    = 1000     // in all
	maxIncludes = 1000     // words of Include lines, each a pattern to look for
	maxRead     = 16 << 20 // bytes in all
)

// reader reads ssh's files, each only once.
type reader struct {
	home     string
	seen     map[string]bool
	files    int
	includes int
	left     int64
	cut      bool // there was more
}

func newReader(home string) *reader {
	return &reader{home: home, seen: make(map[string]bool), left: maxRead}
}

// once reports whether this is the first call for a file.
func (r *reader) once(name string) bool {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	first := !r.seen[name]
	r.seen[name] = true
	return first
}

// read returns the contents of a file, or nothing the second time. It reads
// regular files only, since a pipe could block.
func (r *reader) read(name string) []byte {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || !r.once(name) {
		return nil
	}
	if r.files++; r.files > maxFiles || r.left <= 0 {
		r.cut = true
		return nil
	}
	f, err := regular.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, r.left+1))
	if r.left -= int64(len(text)); r.left < 0 {
		r.cut = true
	}
	return text
}

// config calls line for each line of a configuration and of the files that it
// includes, with the keyword in lower case. Relative names are relative to dir.
func (r *reader) config(name, dir string, line func(keyword string, words []string)) {
	r.include(name, dir, 0, line)
}

func (r *reader) include(name, dir string, depth int, line func(string, []string)) {
	if depth > maxDepth {
		return
	}
	text := strings.TrimPrefix(string(r.read(name)), byteOrderMark)
	for l := range strings.Lines(text) {
		keyword, rest := splitLine(l)
		if keyword == "" || keyword[0] == '#' {
			continue
		}
		words := splitWords(rest)
		if keyword != "include" {
			line(keyword, words)
			continue
		}
		for _, word := range words {
			if r.includes++; r.includes > maxIncludes {
				r.cut = true
				return
			}
			word = r.path(word)
			if !filepath.IsAbs(word) {
				word = filepath.Join(dir, word)
			}
			files, _ := filepath.Glob(word)
			for _, f := range files {
				r.include(f, dir, depth+1, line)
			}
		}
	}
}

// paths returns the files that words, which may contain ssh's tokens, can name.
func (r *reader) paths(words []string) (files []string) {
	for _, word := range words {
		if r.includes++; r.includes > maxIncludes {
			r.cut = true
			break
		}
		found, _ := filepath.Glob(r.path(word))
		files = append(files, found...)
	}
	return files
}

var token = regexp.MustCompile(`%.|\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// path expands tokens and variables. Tokens that depend on the host match
// anything.
func (r *reader) path(word string) string {
	if after, ok := strings.CutPrefix(word, "~/"); ok {
		word = filepath.Join(r.home, after)
	}
	return token.ReplaceAllStringFunc(word, func(t string) string {
		switch {
		case t == "%%":
			return "%"
		case t == "%d":
			return r.home
		case t[0] == '$':
			return os.Getenv(t[2 : len(t)-1])
		}
		return "*"
	})
}

// splitWords splits the rest of a line as ssh does: quotes keep words together,
// and # begins a comment where a word would.
func splitWords(rest string) (words []string) {
	var word strings.Builder
	var quote rune
	begun := false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, c := range rest {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f':
			end()
		case c == '#' && !begun:
			return words
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	end()
	return words
}
