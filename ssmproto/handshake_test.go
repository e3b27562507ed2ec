package ssmproto

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// counted answers a request and returns how many data keys were asked for.
func counted(request []byte) (response []byte, keys int, err error) {
	var h handshake
	response, err = h.answer(context.Background(), request, DefaultClientVersion,
		func(context.Context, string, string) (plain, sealed []byte, err error) {
			keys++
			return make([]byte, dataKeyLen), []byte("sealed"), nil
		})
	return response, keys, err
}

const (
	aPort = `{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port"}}`
	aKey  = `{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k","Challenge":"c"}}`
)

func request(actions ...string) []byte {
	return []byte(`{"AgentVersion":"3.3","RequestedClientActions":[` + strings.Join(actions, ",") + `]}`)
}

func times(n int, s string) []string {
	return strings.Split(strings.Repeat(s+"\x00", n-1)+s, "\x00")
}

// TestHandshakeIsBounded: an agent decides neither how much work we do nor how
// much we send back.
func TestHandshakeIsBounded(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, tt := range []struct {
		name    string
		request []byte
		keys    int
		want    string // of the error; "" is none
	}{
		{"both", request(aPort, aKey), 1, ""},
		{"many that are nothing", request(times(85_000, "{}")...), 0, "asks for 85000 actions"},
		{"many keys", request(times(3_500, aKey)...), 0, "asks for 3500 actions"},
		{"two keys", request(aPort, aKey, aKey), 1, "asks for KMSEncryption twice"},
		{"two types", request(aPort, aPort), 0, "asks for SessionType twice"},
		{"none", request(), 0, "names no session type"},
		{"only a key", request(aKey), 1, "names no session type"},
		{"a long kind", request(aPort, `{"ActionType":"`+long+`"}`), 0, "unsupported action"},
		{"a long type", request(`{"ActionType":"SessionType","ActionParameters":{"SessionType":"` + long + `"}}`), 0, "unsupported session type"},
		{"a long key id", request(aPort, `{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"`+long+`"}}`), 0, "too long"},
		{"a long challenge", request(aPort, `{"ActionType":"KMSEncryption","ActionParameters":{"Challenge":"`+long+`"}}`), 0, "too long"},
		{"a long number", request(aPort, `{"ActionType":`+strings.Repeat("1", 200_000)+`}`), 0, "request"},
		{"deep", request(aPort, strings.Repeat("[", 120_000)), 0, "request"},
		{"null", []byte("null"), 0, "names no session type"},
		{"null actions", []byte(`{"RequestedClientActions":[null,null]}`), 0, "unsupported action"},
		{"no parameters", request(`{"ActionType":"SessionType"}`, `{"ActionType":"KMSEncryption"}`), 0, "session type"},
	} {
		response, keys, err := counted(tt.request)
		said := ""
		if err != nil {
			said = (&HandshakeError{err}).Error()
		}
		if keys != tt.keys || !strings.Contains(said, tt.want) || (said == "") != (tt.want == "") {
			t.Errorf("%s: %d keys, %.300q; want %d, %q", tt.name, keys, said, tt.keys, tt.want)
		}
		if len(said) > maxText+100 || len(response) > 8<<10 {
			t.Errorf("%s: an error of %d bytes, a response of %d", tt.name, len(said), len(response))
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add(request(aPort, aKey))
	f.Add(request(times(9, aKey)...))
	f.Add([]byte(`{"RequestedClientActions":[{"ActionType":"\u0001"},null,{"ActionParameters":[]}]}`))
	f.Add([]byte(`{"Challenge":"AAAA"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > MaxFrame {
			return
		}
		response, keys, err := counted(payload)
		switch {
		case keys > 1:
			t.Errorf("%d data keys", keys)
		case len(response) > 64<<10:
			t.Errorf("a response of %d bytes", len(response))
		case response != nil && !json.Valid(response):
			t.Errorf("a response that is not JSON: %q", response)
		case err == nil && response == nil:
			t.Error("neither a response nor an error")
		}
		cipher, _ := newStreamCipher(make([]byte, dataKeyLen))
		h := handshake{cipher: cipher}
		if answer, err := h.answerChallenge(payload); err == nil && len(answer) > 8<<10 {
			t.Errorf("an answer of %d bytes to a challenge", len(answer))
		}
	})
}

// TestPrematureHandshakeComplete: what was not agreed on is not begun.
func TestPrematureHandshakeComplete(t *testing.T) {
	c := newConn(nil, nil)
	defer c.cancel()
	c.feed(agentMessage(0, HandshakeComplete, []byte("{}")))
	if err := c.failure(); c.isOpen() || err == nil || !strings.Contains(err.Error(), "before it was answered") {
		t.Errorf("open: %v, %v", c.isOpen(), err)
	}
}

// TestTextsFromOutsideAreCut: reasons and messages stay short enough for a line.
func TestTextsFromOutsideAreCut(t *testing.T) {
	long := strings.Repeat("ß", 100_000)
	quoted, _ := json.Marshal(long)
	c := newConn(nil, nil)
	defer c.cancel()
	c.feed(agentMessage(0, HandshakeRequestType, request(aPort)))
	c.wg.Wait()
	c.feed(agentMessage(1, HandshakeComplete, fmt.Appendf(nil, `{"CustomerMessage":%s}`, quoted)),
		serviceMessage(ChannelClosed, fmt.Sprintf(`{"Output":%s}`, quoted)))
	for _, text := range []string{c.Message(), c.failure().Error()} {
		if len(text) > maxText+50 || len(text) < maxText/2 || !utf8.ValidString(text) || !strings.HasSuffix(text, "ß…") {
			t.Errorf("%d bytes: %.600q", len(text), text)
		}
	}
	if _, err := ParseAck(append([]byte(`{"AcknowledgedMessageSequenceNumber":3`), append(bytes.Repeat([]byte(" "), maxAck), '}')...)); err == nil {
		t.Error("an acknowledgement of any length is read")
	}
}

func FuzzClip(f *testing.F) {
	f.Add("aß…", 2)
	f.Add("\xff\xff\xff\xff", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 1000 {
			return
		}
		got := clipTo(s, n)
		if len(got) > max(n+len("…"), 0) && got != s || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q of %q", got, s)
		}
	})
}
