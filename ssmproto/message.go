package ssmproto

import "github.com/ssmpipe/ssmpipe/ssmproto/core"

// Message is one binary WebSocket frame of the data channel; see [core.Message].
type Message = core.Message

// UUID is a message id in its usual byte order (the wire has the halves swapped).
type UUID = core.UUID

// MessageType is the type of a message of the data channel.
type MessageType = core.MessageType

// The message types of the data channel.
const (
	InputStreamData  = core.InputStreamData  // client to agent
	OutputStreamData = core.OutputStreamData // agent to client
	Acknowledge      = core.Acknowledge
	ChannelClosed    = core.ChannelClosed
	StartPublication = core.StartPublication
	PausePublication = core.PausePublication
)

// PayloadType says how to interpret the payload of stream data.
type PayloadType = core.PayloadType

// The payload types of stream data.
const (
	Output               = core.Output // the stream itself, both ways
	ErrorPayload         = core.ErrorPayload
	Size                 = core.Size // terminal size, JSON
	Parameter            = core.Parameter
	HandshakeRequestType = core.HandshakeRequestType
	HandshakeResponse    = core.HandshakeResponse
	HandshakeComplete    = core.HandshakeComplete
	EncChallengeRequest  = core.EncChallengeRequest
	EncChallengeResponse = core.EncChallengeResponse
	FlagPayload          = core.FlagPayload // four bytes, see Flag
	StdErr               = core.StdErr
	ExitCode             = core.ExitCode
)

// Flag is the content of a FlagPayload message: a big-endian uint32.
type Flag = core.Flag

// The flags both sides know.
const (
	DisconnectToPort   = core.DisconnectToPort
	TerminateSession   = core.TerminateSession
	ConnectToPortError = core.ConnectToPortError
)

// Bits of Message.Flags.
const (
	SYN = core.SYN // first message of a series
	FIN = core.FIN // last message of a series
)

const (
	// HeadLen is the number of bytes before the payload in a message that
	// carries a payload type: everything but the service's own messages.
	HeadLen = core.HeadLen

	// MaxFrame is the size in bytes of the largest frame that Parse accepts.
	MaxFrame = core.MaxFrame

	// MaxPayload is the maximum number of stream bytes in one message; see
	// [core.MaxPayload].
	MaxPayload = core.MaxPayload
)

// ErrMalformed is wrapped by every error of Parse and ParseAck.
var ErrMalformed = core.ErrMalformed

// Parse decodes one frame. The payload aliases frame. It checks every length
// and, on messages whose senders fill it in, the payload's SHA-256.
func Parse(frame []byte) (Message, error) { return core.Parse(frame) }

// AppendAck appends the payload that acknowledges m.
func AppendAck(b []byte, m *Message) []byte { return core.AppendAck(b, m) }

// ParseAck returns the sequence number that an acknowledgement's payload
// acknowledges. It parses the usual form without allocating, and any other JSON
// with encoding/json.
func ParseAck(payload []byte) (int64, error) { return core.ParseAck(payload) }
