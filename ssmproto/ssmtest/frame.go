package ssmtest

import (
	"encoding/binary"
	"iter"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// On the way up messages travel in batches, each after its length; on the way
// down as the WebSocket frames that will be written.

// appendMessage appends a message to a batch.
func appendMessage(batch, message []byte) []byte {
	batch = binary.BigEndian.AppendUint32(batch, uint32(len(message)))
	return append(batch, message...)
}

// messages yields what a batch holds.
func messages(batch []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(batch) > 0 {
			n := 4 + int(binary.BigEndian.Uint32(batch))
			if !yield(batch[4:n]) {
				return
			}
			batch = batch[n:]
		}
	}
}

// appendFrame appends m as a WebSocket frame.
func appendFrame(b []byte, m *ssmproto.Message) []byte {
	n := ssmproto.HeadLen + len(m.Payload)
	if m.Short {
		n -= 4
	}
	switch { // RFC 6455, section 5.2
	case n < 126:
		b = append(b, 0x80|websocket.BinaryMessage, byte(n))
	case n < 1<<16:
		b = append(b, 0x80|websocket.BinaryMessage, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 0x80|websocket.BinaryMessage, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return m.Append(b)
}

// appendControl appends a control frame; data is less than 126 bytes long.
func appendControl(b []byte, opcode int, data []byte) []byte {
	b = append(b, 0x80|byte(opcode), byte(len(data)))
	return append(b, data...)
}

// frameLen is the length of the server frame at the start of b.
func frameLen(b []byte) int {
	switch n := int(b[1]); n {
	case 126:
		return 4 + int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10 + int(binary.BigEndian.Uint64(b[2:]))
	default:
		return 2 + n
	}
}

// frameEnd is where the frame ends that byte n of the frames in b is in.
func frameEnd(b []byte, n int) int {
	end := 0
	for end < n {
		end += frameLen(b[end:])
	}
	return end
}
