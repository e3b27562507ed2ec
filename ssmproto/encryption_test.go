package ssmproto

import (
	"github.com/ssmpipe/ssmpipe/testdata/wire"

	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// TestEncryptedSession replays the encrypted shell with its data key: we read
// what the agent wrote, and the agent's key reads our answer to its challenge.
func TestEncryptedSession(t *testing.T) {
	lines := wire.Captures(t)["kms-shell.jsonl"]
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
	plainOf := func(m core.Message) string {
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
	for ready(c) > 0 {
		b := make([]byte, 512)
		n, _ := c.Read(b)
		text.Write(b[:n])
	}
	if s := text.String(); s != "$ echo shell-$((40+2))\r\nshell-42\r\n$ exit\r\n" {
		t.Errorf("the shell said %q", s)
	}
	for c.s.Poll(c.now()) != nil { // acknowledgements
	}
	c.s.Write([]byte("exit\n"))
	m, err := core.Parse(c.s.Poll(c.now()))
	if err != nil {
		t.Fatal(err)
	}
	if got := decrypt(t, key[32:], m.Payload); string(got) != "exit\n" {
		t.Errorf("the agent would read %q", got)
	}
}

func decrypt(t testing.TB, key, sealed []byte) []byte {
	t.Helper()
	plain, err := aesGCM(t, key).Open(nil, sealed[:12], sealed[12:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func encrypt(t testing.TB, key []byte, plain string) []byte {
	t.Helper()
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return aesGCM(t, key).Seal(nonce, nonce, []byte(plain), nil)
}

func aesGCM(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}
