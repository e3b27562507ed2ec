package ssmproto

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame of smux version 1: one byte each for version and command, two for the
// length of what follows, four for the connection's number, little-endian.
const (
	muxHead    = 8
	muxVersion = 1
)

// muxCmd is what a frame says.
type muxCmd byte

const (
	muxSYN muxCmd = iota // a connection is opened
	muxFIN               // and ended, in both directions
	muxPSH               // its data
	muxNOP               // nothing: a keep-alive
)

// MuxError says that the agent's multiplexer has sent a frame that makes no
// sense: the session has ended for it.
type MuxError struct {
	cmd muxCmd
	id  uint32
}

func (e *MuxError) Error() string {
	switch e.cmd {
	case muxSYN:
		return fmt.Sprintf("the agent opened a connection (%d), which only clients do", e.id)
	case muxFIN, muxPSH:
		return fmt.Sprintf("the agent sent something for connection %d, which was never opened", e.id)
	}
	return fmt.Sprintf("the agent's multiplexer sent an unknown command (%d)", e.cmd)
}

var (
	errMuxNumbers = errors.New("the session has no numbers left for connections")
	errMuxControl = errors.New("the agent's multiplexer sent a command with a payload")
)

// muxPart is a frame, or the part of a data frame that has come.
type muxPart struct {
	cmd  muxCmd
	id   uint32
	data []byte
}

// demux takes a stream apart into frames. It keeps nothing but the head of the
// frame that is under way.
type demux struct {
	head [muxHead]byte
	have int // bytes of head
	left int // bytes that are to come of the payload
}

// next returns the first part of p, which is not empty, and what follows it. The
// part is a NOP while the head is not complete. Connections are opened by the
// client alone.
func (d *demux) next(p []byte) (part muxPart, rest []byte, err error) {
	if d.left == 0 {
		n := copy(d.head[d.have:], p)
		d.have += n
		if p = p[n:]; d.have < muxHead {
			return muxPart{cmd: muxNOP}, p, nil
		}
		d.have = 0
		d.left = int(binary.LittleEndian.Uint16(d.head[2:]))
		part = d.part()
		switch {
		case d.head[0] != muxVersion:
			return part, nil, fmt.Errorf("the agent's multiplexer speaks version %d, not %d", d.head[0], muxVersion)
		case part.cmd == muxSYN || part.cmd > muxNOP:
			return part, nil, &MuxError{part.cmd, part.id}
		case part.cmd != muxPSH && d.left > 0:
			return part, nil, errMuxControl
		}
		return part, p, nil
	}
	part = d.part()
	part.data = p[:min(d.left, len(p))]
	d.left -= len(part.data)
	return part, p[len(part.data):], nil
}

// part is what the head says.
func (d *demux) part() muxPart {
	return muxPart{cmd: muxCmd(d.head[1]), id: binary.LittleEndian.Uint32(d.head[4:])}
}

func appendMuxFrame(b []byte, cmd muxCmd, id uint32, data []byte) []byte {
	b = append(b, muxVersion, byte(cmd))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(data)))
	b = binary.LittleEndian.AppendUint32(b, id)
	return append(b, data...)
}
