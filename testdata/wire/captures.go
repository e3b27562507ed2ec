// Package wire has the captures in this directory, for tests.
package wire

import (
	"bufio"
	"embed"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

//go:embed *.jsonl
var files embed.FS

// Line is one line of a capture: see README.md.
type Line struct {
	Dir  string
	Type string
	Hex  string
	KMS  *struct {
		PlaintextKeyHex string `json:"plaintext_key_hex"`
	}
}

// Frame returns the frame of a line that has one.
func (l Line) Frame(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(l.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Captures returns the lines of each capture by the name of its file.
func Captures(t testing.TB) map[string][]Line {
	t.Helper()
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]Line)
	for _, e := range entries {
		b, err := files.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(strings.NewReader(string(b)))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l Line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			all[e.Name()] = append(all[e.Name()], l)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
