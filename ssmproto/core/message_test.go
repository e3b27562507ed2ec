package core

import (
	"strings"

	"github.com/ssmpipe/ssmpipe/testdata/wire"

	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

// TestCapturesRoundTrip: what real agents and clients sent is decoded and
// encoded to the same bytes.
func TestCapturesRoundTrip(t *testing.T) {
	n := 0
	for name, lines := range wire.Captures(t) {
		for i, c := range lines {
			if c.Type != "binary" {
				continue
			}
			n++
			m, err := Parse(c.Frame(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Append(nil); !bytes.Equal(got, c.Frame(t)) {
				t.Errorf("%s line %d:\n got %x\nwant %s", name, i+1, got, c.Hex)
			}
		}
	}
	if n < 400 {
		t.Errorf("only %d messages in the captures", n)
	}
}

// TestCapturedAcknowledgements: we write them as the real client does.
func TestCapturedAcknowledgements(t *testing.T) {
	acks := 0
	for name, lines := range wire.Captures(t) {
		byID := make(map[UUID]Message)
		for i, c := range lines {
			if c.Type != "binary" {
				continue
			}
			m, err := Parse(c.Frame(t))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != Acknowledge {
				byID[m.ID] = m
				continue
			}
			acks++
			var a struct {
				ID       string `json:"AcknowledgedMessageId"`
				Sequence int64  `json:"AcknowledgedMessageSequenceNumber"`
			}
			if err := json.Unmarshal(m.Payload, &a); err != nil {
				t.Fatal(err)
			}
			if seq, ok := parseUsualAck(m.Payload); !ok || seq != a.Sequence {
				t.Errorf("%s line %d: parsed as %d, %v", name, i+1, seq, ok)
			}
			for id, of := range byID {
				if id.String() == a.ID {
					if got := AppendAck(nil, &of); !bytes.Equal(got, m.Payload) {
						t.Errorf("%s line %d: got %s, want %s", name, i+1, got, m.Payload)
					}
				}
			}
		}
	}
	if acks < 100 {
		t.Errorf("only %d acknowledgements in the captures", acks)
	}
}

func TestParseAckOtherForms(t *testing.T) {
	for payload, want := range map[string]int64{
		`{"AcknowledgedMessageSequenceNumber": 12, "IsSequentialMessage": true}`:                   12,
		`{"IsSequentialMessage":false,"AcknowledgedMessageSequenceNumber":0}`:                      0,
		ackHead + `x` + ackID + `y` + ackSeq + `9223372036854775807` + ackTail:                     9223372036854775807,
		ackHead + `","AcknowledgedMessageSequenceNumber":7` + ackID + `y` + ackSeq + `8` + ackTail: 8,
	} {
		if got, err := ParseAck([]byte(payload)); err != nil || got != want {
			t.Errorf("%s: %d, %v", payload, got, err)
		}
	}
	for _, payload := range []string{
		``, `{}`, `null`, `[]`, `{"AcknowledgedMessageSequenceNumber":-1}`, `{"AcknowledgedMessageSequenceNumber":"1"}`,
		`{"AcknowledgedMessageSequenceNumber":3` + strings.Repeat(" ", maxAck) + `}`, // an acknowledgement is not of any length
		ackHead + ackID + ackSeq + ackTail, ackHead + ackID + ackSeq + `99999999999999999999` + ackTail,
	} {
		if got, err := ParseAck([]byte(payload)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d, %v", payload, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := (&Message{Type: OutputStreamData, Created: 1, Payload: []byte("payload")}).Append(nil)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, frame := range map[string][]byte{
		"nothing":             nil,
		"half a head":         good[:60],
		"no payload":          good[:HeadLen],
		"one byte missing":    good[:len(good)-1],
		"one byte more":       append(bytes.Clone(good), 0),
		"another head length": change(3, 117),
		"huge head length":    change(0, 0xff),
		"huge payload length": change(longHeader, 0xff),
		"changed payload":     change(len(good)-1, 'X'),
		"changed digest":      change(offDigest, 1),
		"too large":           make([]byte, MaxFrame+1),
	} {
		if _, err := Parse(frame); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, lines := range wire.Captures(f) {
		for _, c := range lines[:min(len(lines), 12)] {
			if c.Type == "binary" {
				f.Add(c.Frame(f))
			}
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Parse(frame)
		if err != nil {
			return
		}
		if m.Type == Acknowledge {
			ParseAck(m.Payload)
		}
		again, err := Parse(m.Append(nil))
		if err != nil || again.Type != m.Type || again.Sequence != m.Sequence || !bytes.Equal(again.Payload, m.Payload) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzParseAck(f *testing.F) {
	f.Add([]byte(ackHead + `output_stream_data` + ackID + `0` + ackSeq + `12` + ackTail))
	f.Add([]byte(`{"AcknowledgedMessageSequenceNumber":3}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		n, err := ParseAck(payload)
		if err == nil && n < 0 {
			t.Errorf("acknowledges %d", n)
		}
	})
}
