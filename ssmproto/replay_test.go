package ssmproto

import (
	"github.com/ssmpipe/ssmpipe/testdata/wire"

	"bytes"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// replay feeds the agent's messages of a capture to a Conn without a link, and
// returns what the Conn answers, acknowledgements left out.
func replay(t testing.TB, c *Conn, lines []wire.Line) (answers []core.Message) {
	t.Helper()
	for _, line := range lines {
		if line.Dir != "<client" {
			continue
		}
		c.feed(line.Frame(t))
		c.wg.Wait() // the handshake is answered on a goroutine
		c.mu.Lock()
		for f := c.s.Poll(c.now()); f != nil; f = c.s.Poll(c.now()) {
			m, err := core.Parse(bytes.Clone(f))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != core.Acknowledge {
				answers = append(answers, m)
			}
		}
		c.mu.Unlock()
	}
	return answers
}

// fromClient returns what the real client of a capture said, without
// acknowledgements.
func fromClient(t testing.TB, lines []wire.Line) (sent []core.Message) {
	for _, line := range lines {
		if line.Dir == "client>" && line.Type == "binary" {
			m, err := core.Parse(line.Frame(t))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != core.Acknowledge {
				sent = append(sent, m)
			}
		}
	}
	return sent
}
