package ssmproto

import (
	"github.com/ssmpipe/ssmpipe/testdata/wire"

	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ssmpipe/ssmpipe/ssmproto/clip"
	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// counted answers a request and returns how many data keys were asked for.
func counted(request []byte) (response []byte, keys int, err error) {
	var h handshake
	response, err = h.answer(context.Background(), request, DefaultClientVersion,
		func(context.Context, string, string) (plain, sealed []byte, err error) {
			keys++
			return make([]byte, 64), []byte("sealed"), nil
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
		if len(said) > clip.MaxText+100 || len(response) > 8<<10 {
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
		if len(payload) > core.MaxFrame {
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
		cipher, _ := core.NewCipher(make([]byte, 64))
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
	c.feed(agentMessage(0, core.HandshakeComplete, []byte("{}")))
	if err := c.Err(); c.isOpen() || err == nil || !strings.Contains(err.Error(), "before it was answered") {
		t.Errorf("open: %v, %v", c.isOpen(), err)
	}
}

// TestTextsFromOutsideAreCut: reasons and messages stay short enough for a line.
func TestTextsFromOutsideAreCut(t *testing.T) {
	long := strings.Repeat("ß", 100_000)
	quoted, _ := json.Marshal(long)
	c := newConn(nil, nil)
	defer c.cancel()
	c.feed(agentMessage(0, core.HandshakeRequestType, request(aPort)))
	c.wg.Wait()
	c.feed(agentMessage(1, core.HandshakeComplete, fmt.Appendf(nil, `{"CustomerMessage":%s}`, quoted)),
		serviceMessage(core.ChannelClosed, fmt.Sprintf(`{"Output":%s}`, quoted)))
	for _, text := range []string{c.Message(), c.Err().Error()} {
		if len(text) > clip.MaxText+50 || len(text) < clip.MaxText/2 || !utf8.ValidString(text) || !strings.HasSuffix(text, "ß…") {
			t.Errorf("%d bytes: %.600q", len(text), text)
		}
	}
}

// TestOneHandshake: a second one is not answered and changes nothing.
func TestOneHandshake(t *testing.T) {
	request := []byte(`{"AgentVersion":"3.3","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port"}}]}`)
	complete := []byte(`{"HandshakeTimeToComplete":1,"CustomerMessage":""}`)
	c := newConn(nil, nil)
	defer c.cancel()
	c.feed(agentMessage(0, core.HandshakeRequestType, request))
	c.wg.Wait()
	c.feed(agentMessage(1, core.HandshakeComplete, complete))
	key := make([]byte, 64)
	cipher, err := core.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	c.s.Encrypt(cipher)
	for seq := int64(2); seq < 20; seq += 2 {
		c.feed(agentMessage(seq, core.HandshakeRequestType, request), agentMessage(seq+1, core.HandshakeComplete, complete))
	}
	c.wg.Wait()
	if n := c.s.Queued(); n != 1 {
		t.Errorf("%d answers", n)
	}
	for c.s.Poll(c.now()) != nil { // the answer and acknowledgements
	}
	c.Write([]byte("secret"))
	m, err := core.Parse(c.s.Poll(c.now()))
	if err != nil || string(decrypt(t, key[32:], m.Payload)) != "secret" {
		t.Errorf("encryption was switched off: sent %q, %v", m.Payload, err)
	}
}

func TestCompletingWhatWasRefusedFails(t *testing.T) {
	c := newConn(nil, nil)
	defer c.cancel()
	c.feed(agentMessage(0, core.HandshakeRequestType, []byte(`{"RequestedClientActions":[{"ActionType":"Dance"}]}`)))
	c.wg.Wait()
	c.feed(agentMessage(1, core.HandshakeComplete, []byte(`{}`)))
	var refused *HandshakeError
	if err := c.Err(); c.isOpen() || !errors.As(err, &refused) {
		t.Errorf("open: %v, %v", c.isOpen(), err)
	}
}

// TestHandshakeAnswers compares our handshake with the real client's, field by
// field; ids and times are their own, the version is set to the client's.
func TestHandshakeAnswers(t *testing.T) {
	for name, lines := range wire.Captures(t) {
		if strings.HasPrefix(name, "kms") {
			continue
		}
		c := newConn(nil, &Config{ClientVersion: "1.2.0.0"})
		got := replay(t, c, lines)
		want := fromClient(t, lines)[0]
		if len(got) != 1 {
			t.Errorf("%s: %d answers", name, len(got))
			continue
		}
		g := got[0]
		g.ID, g.Created = want.ID, want.Created
		if !bytes.Equal(g.Append(nil), want.Append(nil)) {
			t.Errorf("%s:\n got %s\nwant %s", name, g.Payload, want.Payload)
		}
		if c.SessionType() != PortSession || !c.isOpen() {
			t.Errorf("%s: session type %q, open: %v", name, c.SessionType(), c.isOpen())
		}
	}
}

// TestHandshakeRefusals: what we cannot do, the agent is told, and Dial fails
// with it.
func TestHandshakeRefusals(t *testing.T) {
	for _, tt := range []struct{ name, actions, status, text string }{
		{"unknown action", `[{"ActionType":"Dance","ActionParameters":{}}]`, `"ActionStatus":3`, `unsupported action "Dance"`},
		{"unknown session type", `[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Telepathy"}}]`, `"ActionStatus":2`, `unsupported session type "Telepathy"`},
		{"no key", `[{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k"}}]`, `"ActionStatus":2`, "not set up"},
	} {
		c := newConn(nil, nil)
		m := core.Message{Type: core.OutputStreamData, SchemaVersion: 1, Created: 1, PayloadType: core.HandshakeRequestType,
			Payload: []byte(`{"AgentVersion":"9","RequestedClientActions":` + tt.actions + `}`)}
		answers := replay(t, c, []wire.Line{{Dir: "<client", Hex: hex.EncodeToString(m.Append(nil))}})
		if len(answers) != 1 || !strings.Contains(string(answers[0].Payload), tt.status) {
			t.Errorf("%s: answered %v", tt.name, answers)
		}
		var refused *HandshakeError
		if err := c.Err(); !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: failed with %v", tt.name, err)
		}
	}
}

// TestHandshakeIsAnsweredOnce: a second answer would block the agent for good.
func TestHandshakeIsAnsweredOnce(t *testing.T) {
	lines := wire.Captures(t)["ssh-remote-close.jsonl"]
	request := lines[1]
	c := newConn(nil, nil)
	if n := len(replay(t, c, []wire.Line{request, request, request})); n != 1 {
		t.Errorf("answered %d times", n)
	}
}
