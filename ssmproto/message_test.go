package ssmproto

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// captured is one line of a wire capture.
type captured struct {
	Dir  string
	Type string
	Hex  string
	KMS  *struct {
		PlaintextKeyHex string `json:"plaintext_key_hex"`
	}
}

func (c captured) frame(t testing.TB) []byte {
	b, err := hex.DecodeString(c.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c captured) message(t testing.TB) Message {
	m, err := Parse(c.frame(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// captures returns the lines of each capture in testdata/wire by name.
func captures(t testing.TB) map[string][]captured {
	t.Helper()
	names, err := filepath.Glob("../testdata/wire/*.jsonl")
	if err != nil || len(names) < 7 {
		t.Fatalf("%d captures, %v", len(names), err)
	}
	all := make(map[string][]captured)
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c captured
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = append(all[filepath.Base(name)], c)
		}
	}
	return all
}

// TestCapturesRoundTrip: what real agents and clients sent is decoded and
// encoded to the same bytes.
func TestCapturesRoundTrip(t *testing.T) {
	n := 0
	for name, lines := range captures(t) {
		for i, c := range lines {
			if c.Type != "binary" {
				continue
			}
			n++
			m := c.message(t)
			if got := m.Append(nil); !bytes.Equal(got, c.frame(t)) {
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
	for name, lines := range captures(t) {
		byID := make(map[UUID]Message)
		for i, c := range lines {
			if c.Type != "binary" {
				continue
			}
			m := c.message(t)
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

// replay feeds the agent's messages of a capture to a Conn without a link, and
// returns what the Conn answers, acknowledgements left out.
func replay(t testing.TB, c *Conn, lines []captured) (answers []Message) {
	t.Helper()
	for _, line := range lines {
		if line.Dir != "<client" {
			continue
		}
		c.feed(line.frame(t))
		c.wg.Wait() // the handshake is answered on a goroutine
		c.mu.Lock()
		for f := c.s.poll(c.now()); f != nil; f = c.s.poll(c.now()) {
			m, err := Parse(bytes.Clone(f))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != Acknowledge {
				answers = append(answers, m)
			}
		}
		c.mu.Unlock()
	}
	return answers
}

// fromClient returns what the real client of a capture said, without
// acknowledgements.
func fromClient(t testing.TB, lines []captured) (sent []Message) {
	for _, line := range lines {
		if line.Dir == "client>" && line.Type == "binary" {
			if m := line.message(t); m.Type != Acknowledge {
				sent = append(sent, m)
			}
		}
	}
	return sent
}

// TestHandshakeAnswers compares our handshake with the real client's, field by
// field; ids and times are their own, the version is set to the client's.
func TestHandshakeAnswers(t *testing.T) {
	for name, lines := range captures(t) {
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

// TestEncryptedSession replays the encrypted shell with its data key: we read
// what the agent wrote, and the agent's key reads our answer to its challenge.
func TestEncryptedSession(t *testing.T) {
	lines := captures(t)["kms-shell.jsonl"]
	key, err := hex.DecodeString(lines[0].KMS.PlaintextKeyHex)
	if err != nil {
		t.Fatal(err)
	}
	var keyID, challenge string
	c := newConn(nil, &Config{
		ClientVersion: "1.2.0.0",
		DataKey: func(_ context.Context, id, nonce string) ([]byte, []byte, error) {
			keyID, challenge = id, nonce
			return key, []byte("sealed"), nil
		},
	})
	answers := replay(t, c, lines[1:])
	if !strings.HasPrefix(keyID, "arn:aws:kms:") || challenge != "ps9z5dRkkfnLRrFCkYbJzg==" {
		t.Errorf("asked for key %q with challenge %q", keyID, challenge)
	}
	if len(answers) != 2 {
		t.Fatalf("%d answers", len(answers))
	}
	want := `{"ClientVersion":"1.2.0.0","ProcessedClientActions":[` +
		`{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""},` +
		`{"ActionType":"KMSEncryption","ActionStatus":1,"ActionResult":{"KMSCipherTextKey":"c2VhbGVk","KMSCipherTextHash":null,"ChallengeAcknowledgement":true},"Error":""}],"Errors":null}`
	if string(answers[0].Payload) != want {
		t.Errorf("answered\n%s, want\n%s", answers[0].Payload, want)
	}
	// The challenge in the clear is the same in the agent's request, in the
	// real client's answer, and in ours.
	plainOf := func(m Message) string {
		var ch encChallenge
		if err := json.Unmarshal(m.Payload, &ch); err != nil {
			t.Fatal(err)
		}
		return string(decrypt(t, key[32:], ch.Challenge))
	}
	if got, want := plainOf(answers[1]), plainOf(fromClient(t, lines[1:])[1]); got != want || got == "" {
		t.Errorf("challenge answered with %q, the real client with %q", got, want)
	}
	if c.Message() != "This session is encrypted using AWS KMS." {
		t.Errorf("message %q", c.Message())
	}
	// What the shell wrote, and our typing as the agent would read it.
	var text bytes.Buffer
	for c.s.in.buf.n > 0 {
		b := make([]byte, 512)
		n, _ := c.Read(b)
		text.Write(b[:n])
	}
	if s := text.String(); s != "$ echo shell-$((40+2))\r\nshell-42\r\n$ exit\r\n" {
		t.Errorf("the shell said %q", s)
	}
	s := newSender(InputStreamData, c.start, [32]byte{})
	s.cipher = c.s.out.cipher
	s.write([]byte("exit\n"))
	m, err := Parse(s.poll(1))
	if err != nil {
		t.Fatal(err)
	}
	if got := decrypt(t, key[32:], m.Payload); string(got) != "exit\n" {
		t.Errorf("the agent would read %q", got)
	}
}

func decrypt(t testing.TB, key, sealed []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, sealed[:12], sealed[12:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
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
		m := Message{Type: OutputStreamData, SchemaVersion: 1, Created: 1, PayloadType: HandshakeRequestType,
			Payload: []byte(`{"AgentVersion":"9","RequestedClientActions":` + tt.actions + `}`)}
		answers := replay(t, c, []captured{{Dir: "<client", Hex: hex.EncodeToString(m.Append(nil))}})
		if len(answers) != 1 || !strings.Contains(string(answers[0].Payload), tt.status) {
			t.Errorf("%s: answered %v", tt.name, answers)
		}
		var refused *HandshakeError
		if err := c.failure(); !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: failed with %v", tt.name, err)
		}
	}
}

// TestHandshakeIsAnsweredOnce: a second answer would block the agent for good.
func TestHandshakeIsAnsweredOnce(t *testing.T) {
	lines := captures(t)["ssh-remote-close.jsonl"]
	request := lines[1]
	c := newConn(nil, nil)
	if n := len(replay(t, c, []captured{request, request, request})); n != 1 {
		t.Errorf("answered %d times", n)
	}
	if n := len(c.s.acks.q); n != 0 {
		t.Errorf("%d acknowledgements left", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, lines := range captures(f) {
		for _, c := range lines[:min(len(lines), 12)] {
			if c.Type == "binary" {
				f.Add(c.frame(f))
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

// FuzzReceive feeds a Conn what an agent gone mad might send, cut into
// messages by the fuzzer: no crash, no unbounded memory, nothing delivered
// out of order.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x01\x05hello\x01\x01\x02xy\x03\x05\x00"))
	f.Add([]byte("\x02\x01\x01c\x01\x01\x01b\x00\x01\x01a"))
	f.Add([]byte("\x00\x07\x00\x01\x01\x010"))
	f.Add([]byte("\x01\x0b\x03err\x00\x01\x03out\x02\x0c\x0212"))
	f.Fuzz(func(t *testing.T, script []byte) {
		c := newConn(nil, nil)
		defer c.cancel()
		type part struct {
			payload []byte
			stderr  bool
		}
		want := make(map[int64]part) // the first to come with a number counts
		for len(script) >= 3 {
			seq, typ, n := int64(int8(script[0])), PayloadType(script[1]%14), int(script[2])
			script = script[3:]
			n = min(n, len(script))
			m := Message{Type: OutputStreamData, Created: 1, Sequence: seq, PayloadType: typ, Payload: script[:n]}
			script = script[n:]
			if _, ok := want[seq]; !ok {
				want[seq] = part{}
				if typ == Output || typ == StdErr {
					want[seq] = part{m.Payload, typ == StdErr}
				}
			}
			c.feed(m.Append(nil))
		}
		c.wg.Wait()
		// Each byte, and before it which of the two outputs it is of.
		mark := func(b, payload []byte, stderr bool) []byte {
			for _, p := range payload {
				b = append(b, "oe"[map[bool]int{true: 1}[stderr]], p)
			}
			return b
		}
		var expected, got []byte
		for seq := int64(0); ; seq++ {
			p, ok := want[seq]
			if !ok {
				break
			}
			expected = mark(expected, p.payload, p.stderr)
		}
		for c.s.in.buf.n > 0 {
			b := make([]byte, 7)
			n, stderr := c.s.in.read(b)
			got = mark(got, b[:n], stderr)
		}
		ended := c.failure() != nil // and what comes then is not taken in
		if !bytes.HasPrefix(expected, got) || !ended && len(got) < len(expected) {
			t.Errorf("got %q, want %q; ended: %v", got, expected, ended)
		}
	})
}
