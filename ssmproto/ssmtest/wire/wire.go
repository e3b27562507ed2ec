// Package wire encodes messages as they travel through a double of the service:
// towards the agent in batches, each message preceded by its length; towards
// the client as the WebSocket frames that will be written.
package wire

import (
	"encoding/binary"
	"iter"
	"math/rand/v2"

	"github.com/gorilla/websocket"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// AppendMessage appends a message to a batch.
func AppendMessage(batch, message []byte) []byte {
	batch = binary.BigEndian.AppendUint32(batch, uint32(len(message)))
	return append(batch, message...)
}

// Messages yields the messages of a batch.
func Messages(batch []byte) iter.Seq[[]byte] {
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

// AppendFrame appends m as a WebSocket frame.
func AppendFrame(b []byte, m *core.Message) []byte {
	n := core.HeadLen + len(m.Payload)
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

// AppendControl appends a control frame; data is less than 126 bytes long.
func AppendControl(b []byte, opcode int, data []byte) []byte {
	b = append(b, 0x80|byte(opcode), byte(len(data)))
	return append(b, data...)
}

// FrameLen returns the length of the server frame at the start of b.
func FrameLen(b []byte) int {
	switch n := int(b[1]); n {
	case 126:
		return 4 + int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10 + int(binary.BigEndian.Uint64(b[2:]))
	default:
		return 2 + n
	}
}

// FrameEnd returns the end of the frame that contains byte n of the frames in
// b.
func FrameEnd(b []byte, n int) int {
	end := 0
	for end < n {
		end += FrameLen(b[end:])
	}
	return end
}

// NewID returns a random UUID. It need not be secret: tokens protect nothing
// here.
func NewID() (id core.UUID) {
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		id[i], id[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
