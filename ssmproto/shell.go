package ssmproto

import (
	"encoding/json"
	"strconv"
	"strings"
)

// What sessions with a shell or a command have beside their stream.

// Resize tells the agent how large the terminal is, in characters. Only the
// last size counts, so one that could not be sent yet is forgotten. It does not
// block.
func (c *Conn) Resize(cols, rows int) {
	size, err := json.Marshal(terminalSize{cols, rows})
	if err != nil {
		panic(err) // two numbers always can be
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.s.out.replace(Size, size)
		c.wakeWriter()
	}
}

type terminalSize struct {
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// ExitStatus returns the exit status of a command, once the agent has told it:
// that is before Read returns io.EOF. Agents tell it of commands that are not
// interactive, if the document asks for the outputs apart; -1 is a command that
// a signal has ended.
func (c *Conn) ExitStatus() (status int, told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exit == nil {
		return 0, false
	}
	return *c.exit, true
}

// exitPrefix is before the number in what the agent sends.
const exitPrefix = "EXIT_CODE:"

// exited takes in a command's exit status. c.mu is held.
func (c *Conn) exited(payload []byte) {
	text := strings.TrimSpace(strings.TrimPrefix(string(payload), exitPrefix))
	status, err := strconv.Atoi(text)
	if err != nil {
		c.log.Debug("exit status not understood", "payload", clip(text))
		return
	}
	c.exit = &status
}
