package ssmproto

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// captured is one line of a wire capture.
type captured struct {
	Dir  string
	Type string
	Hex  string
	KMS  *struct {
		PlaintextKeyHex string `json:"plaintext_key_hex"`
	}
}

func (c captured) frame(t testing.TB) []byte {
	b, err := hex.DecodeString(c.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c captured) message(t testing.TB) Message {
	m, err := Parse(c.frame(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// captures returns the lines of each capture in testdata/wire by name.
func captures(t testing.TB) map[string][]captured {
	t.Helper()
	names, err := filepath.Glob("../testdata/wire/*.jsonl")
	if err != nil || len(names) < 7 {
		t.Fatalf("%d captures, %v", len(names), err)
	}
	all := make(map[string][]captured)
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c captured
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = append(all[filepath.Base(name)], c)
		}
	}
	return all
}

// replay feeds the agent's messages of a capture to a Conn without a link, and
// returns what the Conn answers, acknowledgements left out.
func replay(t testing.TB, c *Conn, lines []captured) (answers []Message) {
	t.Helper()
	for _, line := range lines {
		if line.Dir != "<client" {
			continue
		}
		c.feed(line.frame(t))
		c.wg.Wait() // the handshake is answered on a goroutine
		c.mu.Lock()
		for f := c.s.poll(c.now()); f != nil; f = c.s.poll(c.now()) {
			m, err := Parse(bytes.Clone(f))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != Acknowledge {
				answers = append(answers, m)
			}
		}
		c.mu.Unlock()
	}
	return answers
}

// fromClient returns what the real client of a capture said, without
// acknowledgements.
func fromClient(t testing.TB, lines []captured) (sent []Message) {
	for _, line := range lines {
		if line.Dir == "client>" && line.Type == "binary" {
			if m := line.message(t); m.Type != Acknowledge {
				sent = append(sent, m)
			}
		}
	}
	return sent
}
