package link

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The frames of WebSocket, RFC 6455 section 5. The library opens the channel;
// after that we read and write frames ourselves, because every message is one,
// a thousand per megabyte: frames are parsed in the buffer that they were read
// into, and built in the buffer that they are written from.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	finBit     = 0x80
	maskBit    = 0x80
	maxControl = 125

	maxServerHead = 2 + 8 // servers send no mask
)

// MaxMessage is how many bytes a message from the service may have: it limits
// memory.
const MaxMessage = 256 << 10

var (
	// errMoreToCome means that the rest of a frame has not been read yet.
	errMoreToCome = errors.New("incomplete frame")

	// ErrTooLarge means that the service sent a message of more than MaxMessage
	// bytes.
	ErrTooLarge = fmt.Errorf("a message of more than %d bytes", MaxMessage)

	errFrame = errors.New("a frame that violates RFC 6455")
)

// appendFrame appends a message as a client sends it: one frame, masked with
// key.
func appendFrame(b []byte, opcode byte, payload []byte, key uint32) []byte {
	switch n := len(payload); {
	case n <= maxControl:
		b = append(b, finBit|opcode, maskBit|byte(n))
	case n <= 0xffff:
		b = append(b, finBit|opcode, maskBit|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, finBit|opcode, maskBit|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = binary.LittleEndian.AppendUint32(b, key)
	start := len(b)
	b = append(b, payload...)
	mask(b[start:], key)
	return b
}

// mask applies or removes a mask: section 5.3.
func mask(p []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(wide >> (8 * i))
	}
}

// frameReader finds messages in the bytes that a server sends.
type frameReader struct {
	buf        []byte
	start, end int // buf[start:end] has been read and not returned yet

	fragments []byte // of a message that is not complete
	opcode    byte   // its type; 0: there is none
}

// space returns the buffer to read into. It invalidates what next returned.
func (f *frameReader) space() []byte {
	if f.start > 0 {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	}
	if f.end == len(f.buf) {
		grown := make([]byte, max(2*len(f.buf), 32<<10)) // MaxMessage bounds it
		copy(grown, f.buf)
		f.buf = grown
	}
	return f.buf[f.end:]
}

// filled records that n bytes were read into the buffer that space returned.
func (f *frameReader) filled(n int) { f.end += n }

// next returns the next message or control frame with its opcode, or
// errMoreToCome. Any other error ends the channel.
func (f *frameReader) next() (opcode byte, payload []byte, err error) {
	for {
		final, opcode, payload, err := f.frame()
		switch {
		case err != nil:
			return 0, nil, err
		case opcode >= opClose:
			if !final || len(payload) > maxControl {
				return 0, nil, errFrame
			}
			return opcode, payload, nil
		case (opcode == opContinuation) != (f.opcode != 0):
			return 0, nil, errFrame
		case final && opcode != opContinuation:
			return opcode, payload, nil
		}
		if len(f.fragments)+len(payload) > MaxMessage {
			return 0, nil, ErrTooLarge
		}
		f.fragments = append(f.fragments, payload...)
		if opcode != opContinuation {
			f.opcode = opcode
		}
		if final {
			opcode, payload = f.opcode, f.fragments
			f.opcode, f.fragments = 0, f.fragments[:0]
			return opcode, payload, nil
		}
	}
}

// frame takes one frame out of the buffer.
func (f *frameReader) frame() (final bool, opcode byte, payload []byte, err error) {
	b := f.buf[f.start:f.end]
	if len(b) < 2 {
		return false, 0, nil, errMoreToCome
	}
	final, opcode = b[0]&finBit != 0, b[0]&0x0f
	known := opcode <= opBinary || opcode >= opClose && opcode <= opPong
	if b[0]&0x70 != 0 || b[1]&maskBit != 0 || !known {
		return false, 0, nil, errFrame
	}
	head, n := 2, uint64(b[1])
	switch n {
	case 126:
		if head = 4; len(b) >= head {
			n = uint64(binary.BigEndian.Uint16(b[2:]))
		}
	case 127:
		if head = maxServerHead; len(b) >= head {
			n = binary.BigEndian.Uint64(b[2:])
		}
	}
	switch {
	case len(b) < head:
		return false, 0, nil, errMoreToCome
	case n > MaxMessage:
		return false, 0, nil, ErrTooLarge
	case uint64(len(b)-head) < n:
		return false, 0, nil, errMoreToCome
	}
	f.start += head + int(n)
	return final, opcode, b[head : head+int(n)], nil
}

// closedByPeer returns the error for a close frame: section 7.
func closedByPeer(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("closed by the service")
	}
	return fmt.Errorf("closed by the service (%d %s)", binary.BigEndian.Uint16(payload), payload[2:])
}
