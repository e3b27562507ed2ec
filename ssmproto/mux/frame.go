package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The header of a frame of smux version 1: one byte each for version and
// command, two for the payload's length, four for the connection's number,
// little-endian.
const (
	headLen = 8
	version = 1
)

// command is the command of a frame.
type command byte

const (
	syn command = iota // opens a connection
	fin                // ends it, in both directions
	psh                // carries its data
	nop                // does nothing: a keep-alive
)

// Error means that the agent's multiplexer sent an invalid frame, which
// ended the session.
type Error struct {
	cmd command
	id  uint32
}

func (e *Error) Error() string {
	switch e.cmd {
	case syn:
		return fmt.Sprintf("the agent opened a connection (%d), which only clients do", e.id)
	case fin, psh:
		return fmt.Sprintf("the agent sent something for connection %d, which was never opened", e.id)
	}
	return fmt.Sprintf("the agent's multiplexer sent an unknown command (%d)", e.cmd)
}

var (
	errNumbers = errors.New("the session has run out of connection numbers")
	errControl = errors.New("the agent's multiplexer sent a command with a payload")
)

// piece is a frame, or the part of a data frame that has been received.
type piece struct {
	cmd  command
	id   uint32
	data []byte
}

// demux splits a stream into frames. It keeps only the header of the current
// frame.
type demux struct {
	head [headLen]byte
	have int // bytes of head received
	left int // bytes of the payload still to come
}

// next returns the first part of p, which is not empty, and the rest. The part
// is a NOP while the header is not complete. A SYN is an error, as only the
// client opens connections.
func (d *demux) next(p []byte) (part piece, rest []byte, err error) {
	if d.left == 0 {
		n := copy(d.head[d.have:], p)
		d.have += n
		if p = p[n:]; d.have < headLen {
			return piece{cmd: nop}, p, nil
		}
		d.have = 0
		d.left = int(binary.LittleEndian.Uint16(d.head[2:]))
		part = d.part()
		switch {
		case d.head[0] != version:
			return part, nil, fmt.Errorf("the agent's multiplexer speaks version %d, not %d", d.head[0], version)
		case part.cmd == syn || part.cmd > nop:
			return part, nil, &Error{part.cmd, part.id}
		case part.cmd != psh && d.left > 0:
			return part, nil, errControl
		}
		return part, p, nil
	}
	part = d.part()
	part.data = p[:min(d.left, len(p))]
	d.left -= len(part.data)
	return part, p[len(part.data):], nil
}

// part returns the part that the header describes, without data.
func (d *demux) part() piece {
	return piece{cmd: command(d.head[1]), id: binary.LittleEndian.Uint32(d.head[4:])}
}

func appendFrame(b []byte, cmd command, id uint32, data []byte) []byte {
	b = append(b, version, byte(cmd))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(data)))
	b = binary.LittleEndian.AppendUint32(b, id)
	return append(b, data...)
}
