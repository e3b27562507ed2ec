package core

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// MessageType is the type of a message of the data channel.
type MessageType string

// The message types of the data channel.
const (
	InputStreamData  MessageType = "input_stream_data"  // client to agent
	OutputStreamData MessageType = "output_stream_data" // agent to client
	Acknowledge      MessageType = "acknowledge"
	ChannelClosed    MessageType = "channel_closed"
	StartPublication MessageType = "start_publication"
	PausePublication MessageType = "pause_publication"
)

// PayloadType says how to interpret the payload of stream data.
type PayloadType uint32

// The payload types of stream data.
const (
	Output               PayloadType = 1 // the stream itself, both ways
	ErrorPayload         PayloadType = 2
	Size                 PayloadType = 3 // terminal size, JSON
	Parameter            PayloadType = 4
	HandshakeRequestType PayloadType = 5
	HandshakeResponse    PayloadType = 6
	HandshakeComplete    PayloadType = 7
	EncChallengeRequest  PayloadType = 8
	EncChallengeResponse PayloadType = 9
	FlagPayload          PayloadType = 10 // four bytes, see Flag
	StdErr               PayloadType = 11
	ExitCode             PayloadType = 12
)

// Flag is the content of a FlagPayload message: a big-endian uint32.
type Flag uint32

// The flags both sides know.
const (
	DisconnectToPort   Flag = 1
	TerminateSession   Flag = 2
	ConnectToPortError Flag = 3
)

// Bits of Message.Flags.
const (
	SYN uint64 = 1 << 0 // first message of a series
	FIN uint64 = 1 << 1 // last message of a series
)

// UUID is a message id in its usual byte order (the wire has the halves swapped).
type UUID [16]byte

// String returns the usual 8-4-4-4-12 form.
func (u UUID) String() string { return string(u.append(make([]byte, 0, 36))) }

func (u UUID) append(b []byte) []byte {
	b = append(hex.AppendEncode(b, u[:4]), '-')
	b = append(hex.AppendEncode(b, u[4:6]), '-')
	b = append(hex.AppendEncode(b, u[6:8]), '-')
	b = append(hex.AppendEncode(b, u[8:10]), '-')
	return hex.AppendEncode(b, u[10:])
}

// Message is one binary WebSocket frame of the data channel.
type Message struct {
	Type          MessageType
	SchemaVersion uint32
	Created       uint64 // milliseconds since the epoch; the agent refuses 0
	Sequence      int64
	Flags         uint64
	ID            UUID
	PayloadType   PayloadType
	Payload       []byte

	// Short marks the form that the service uses for its own messages, which
	// has no payload-type field (header length 112 instead of 116).
	Short bool
}

// Offsets of the fixed head. The header length counts the bytes before the
// payload-length field, which is why the payload starts four bytes after it.
const (
	offType     = 4
	offVersion  = 36
	offCreated  = 40
	offSequence = 48
	offFlags    = 56
	offID       = 64
	offDigest   = 80
	offPayType  = 112

	longHeader  = 116
	shortHeader = 112

	// HeadLen is the number of bytes before the payload in a message that
	// carries a payload type: everything but the service's own messages.
	HeadLen = longHeader + 4

	// MaxFrame is the size of the largest frame that Parse accepts. The agent
	// sends 1,024 payload bytes per message; the bound leaves room for
	// handshakes and for future agents that send more, and limits memory.
	MaxFrame = 256 << 10
)

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed message")

// Parse decodes one frame. The payload aliases frame. It checks every length
// and, on messages whose senders fill it in, the payload's SHA-256.
func Parse(frame []byte) (Message, error) {
	var m Message
	if len(frame) < shortHeader+4 {
		return m, fmt.Errorf("%w: %d bytes are less than a header", ErrMalformed, len(frame))
	}
	if len(frame) > MaxFrame {
		return m, fmt.Errorf("%w: %d bytes are more than %d", ErrMalformed, len(frame), MaxFrame)
	}
	head := int(binary.BigEndian.Uint32(frame))
	switch {
	case head == longHeader && len(frame) >= HeadLen:
		m.PayloadType = PayloadType(binary.BigEndian.Uint32(frame[offPayType:]))
	case head == shortHeader:
		m.Short = true
	default:
		return m, fmt.Errorf("%w: header length %d in %d bytes", ErrMalformed, head, len(frame))
	}
	m.Payload = frame[head+4:]
	if n := binary.BigEndian.Uint32(frame[head:]); uint64(n) != uint64(len(m.Payload)) {
		return m, fmt.Errorf("%w: payload length %d, but %d bytes follow", ErrMalformed, n, len(m.Payload))
	}
	m.Type = messageType(frame[offType:offVersion])
	m.SchemaVersion = binary.BigEndian.Uint32(frame[offVersion:])
	m.Created = binary.BigEndian.Uint64(frame[offCreated:])
	m.Sequence = int64(binary.BigEndian.Uint64(frame[offSequence:]))
	m.Flags = binary.BigEndian.Uint64(frame[offFlags:])
	copy(m.ID[8:], frame[offID:offID+8])
	copy(m.ID[:8], frame[offID+8:offID+16])
	switch m.Type {
	case InputStreamData, OutputStreamData, Acknowledge:
		if sha256.Sum256(m.Payload) != [sha256.Size]byte(frame[offDigest:offDigest+sha256.Size]) {
			return m, fmt.Errorf("%w: the payload does not match its digest", ErrMalformed)
		}
	}
	return m, nil
}

// Append appends m's wire form to b. It allocates only to grow b.
func (m *Message) Append(b []byte) []byte {
	start := len(b)
	var head [HeadLen]byte
	b = append(b, head[:m.headLen()]...)
	b = append(b, m.Payload...)
	m.putHead(b[start:])
	return b
}

func (m *Message) headLen() int {
	if m.Short {
		return shortHeader + 4
	}
	return HeadLen
}

// putHead fills in the head of frame, whose payload is in its place already
// (m.Payload is not looked at), so that a payload can be gathered in the
// buffer that it is sent from.
func (m *Message) putHead(frame []byte) {
	n := m.headLen()
	payload := frame[n:]
	binary.BigEndian.PutUint32(frame, uint32(n-4))
	pad := offType + copy(frame[offType:offVersion], m.Type)
	for i := pad; i < offVersion; i++ {
		frame[i] = ' '
	}
	binary.BigEndian.PutUint32(frame[offVersion:], m.SchemaVersion)
	binary.BigEndian.PutUint64(frame[offCreated:], m.Created)
	binary.BigEndian.PutUint64(frame[offSequence:], uint64(m.Sequence))
	binary.BigEndian.PutUint64(frame[offFlags:], m.Flags)
	copy(frame[offID:], m.ID[8:])
	copy(frame[offID+8:], m.ID[:8])
	digest := sha256.Sum256(payload)
	copy(frame[offDigest:], digest[:])
	if !m.Short {
		binary.BigEndian.PutUint32(frame[offPayType:], uint32(m.PayloadType))
	}
	binary.BigEndian.PutUint32(frame[n-4:], uint32(len(payload)))
}

// messageType returns the type in a padded field, without allocating for the
// types that are known.
func messageType(field []byte) MessageType {
	for len(field) > 0 && (field[len(field)-1] == ' ' || field[len(field)-1] == 0) {
		field = field[:len(field)-1]
	}
	switch string(field) {
	case string(InputStreamData):
		return InputStreamData
	case string(OutputStreamData):
		return OutputStreamData
	case string(Acknowledge):
		return Acknowledge
	case string(ChannelClosed):
		return ChannelClosed
	case string(StartPublication):
		return StartPublication
	case string(PausePublication):
		return PausePublication
	}
	return MessageType(field)
}
