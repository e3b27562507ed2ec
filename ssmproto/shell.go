package ssmproto

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/clip"
	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// What sessions with a shell or a command have in addition to their stream.

// Resize tells the agent the terminal's size in characters. Only the last size
// matters, so it replaces one that has not been sent yet. It does not block.
func (c *Conn) Resize(cols, rows int) {
	size, err := json.Marshal(terminalSize{cols, rows})
	if err != nil {
		panic(err) // cannot happen with two integers
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.s.Replace(core.Size, size)
		c.wakeWriter()
	}
}

type terminalSize struct {
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// ExitStatus returns the exit status of a command and whether the agent has
// reported it, which it does before Read returns io.EOF. Agents report it for
// non-interactive commands, if the document asks for separate outputs; -1 means
// that a signal ended the command.
func (c *Conn) ExitStatus() (status int, told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exit == nil {
		return 0, false
	}
	return *c.exit, true
}

// exitPrefix precedes the number in the agent's message.
const exitPrefix = "EXIT_CODE:"

// setExitStatus records a command's exit status. c.mu is held.
func (c *Conn) setExitStatus(payload []byte) {
	text := strings.TrimSpace(strings.TrimPrefix(string(payload), exitPrefix))
	status, err := strconv.Atoi(text)
	if err != nil {
		c.log.Debug("exit status not understood", "payload", clip.Text(text))
		return
	}
	c.exit = &status
}
