package ssmproto

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

func TestNothingFollowsWhatCannotBeDecrypted(t *testing.T) {
	c := opened(t)
	key := bytes.Repeat([]byte{1}, dataKeyLen)
	theirs, err := newStreamCipher(append(bytes.Clone(key[32:]), key[:32]...)) // the agent's view
	if err != nil {
		t.Fatal(err)
	}
	if c.s.in.cipher, err = newStreamCipher(key); err != nil {
		t.Fatal(err)
	}
	sealed := func(s string) []byte { return theirs.seal([]byte(s), 0) }
	c.feed(agentMessage(2, Output, sealed("three")), agentMessage(1, Output, []byte("broken, and long enough to be read")), agentMessage(0, Output, sealed("one")))
	if got, err := io.ReadAll(c); string(got) != "one" || err == nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOnlyTheStreamIsEncrypted, and no two messages have the same id.
func TestOnlyTheStreamIsEncrypted(t *testing.T) {
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{})
	c, err := newStreamCipher(make([]byte, dataKeyLen))
	if err != nil {
		t.Fatal(err)
	}
	s.cipher = c
	s.write([]byte("secret"))
	s.control(FlagPayload, []byte{0, 0, 0, 2})
	first, err := Parse(bytes.Clone(s.poll(1)))
	if err != nil || bytes.Contains(first.Payload, []byte("secret")) || len(first.Payload) != 6+12+16 {
		t.Errorf("%q, %v", first.Payload, err)
	}
	second, err := Parse(bytes.Clone(s.poll(1)))
	if err != nil || !bytes.Equal(second.Payload, []byte{0, 0, 0, 2}) {
		t.Errorf("%q, %v", second.Payload, err)
	}
	if first.ID == second.ID {
		t.Error("two messages have the same id")
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
