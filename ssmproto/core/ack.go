package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// The text around the values, in the order in which agent and plugin write
// them.
const (
	ackHead = `{"AcknowledgedMessageType":"`
	ackID   = `","AcknowledgedMessageId":"`
	ackSeq  = `","AcknowledgedMessageSequenceNumber":`
	ackTail = `,"IsSequentialMessage":true}`
)

// maxAck is the maximum length of an acknowledgement's payload. They have about
// 200 bytes.
const maxAck = 4 << 10

// AppendAck appends the payload that acknowledges m.
func AppendAck(b []byte, m *Message) []byte {
	b = append(b, ackHead...)
	b = append(b, m.Type...)
	b = append(b, ackID...)
	b = m.ID.append(b)
	b = append(b, ackSeq...)
	b = strconv.AppendInt(b, m.Sequence, 10)
	return append(b, ackTail...)
}

// ParseAck returns the sequence number that an acknowledgement's payload
// acknowledges. It parses the usual form without allocating, and any other JSON
// with encoding/json.
func ParseAck(payload []byte) (int64, error) {
	if n, ok := parseUsualAck(payload); ok {
		return n, nil
	}
	if len(payload) > maxAck {
		return 0, fmt.Errorf("%w: acknowledgement of %d bytes", ErrMalformed, len(payload))
	}
	// A missing number must not read as an acknowledgement of message 0.
	var a struct {
		Sequence *int64 `json:"AcknowledgedMessageSequenceNumber"`
	}
	if err := json.Unmarshal(payload, &a); err != nil {
		return 0, fmt.Errorf("%w: acknowledgement: %v", ErrMalformed, err)
	}
	if a.Sequence == nil || *a.Sequence < 0 {
		return 0, fmt.Errorf("%w: acknowledgement without a sequence number", ErrMalformed)
	}
	return *a.Sequence, nil
}

func parseUsualAck(p []byte) (int64, bool) {
	p, ok := bytes.CutSuffix(p, []byte(ackTail))
	if !ok || !bytes.HasPrefix(p, []byte(ackHead)) {
		return 0, false
	}
	n, digits := int64(0), len(p)
	for digits > 0 && p[digits-1] >= '0' && p[digits-1] <= '9' {
		digits--
	}
	if digits == len(p) || len(p)-digits > 18 { // 18 digits cannot overflow an int64
		return 0, false
	}
	for _, d := range p[digits:] {
		n = n*10 + int64(d-'0')
	}
	return n, bytes.HasSuffix(p[:digits], []byte(ackSeq))
}
