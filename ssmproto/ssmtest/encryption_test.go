//go:build unix

package ssmtest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

const testKey = "arn:aws:kms:us-east-1:123456789012:key/00000000-1111-2222-3333-444444444444"

// encrypting is a configuration with a key, of which the test's own sealedKey
// is the KMS.
func encrypting(a Agent) Config {
	return Config{ShellProfile: "PS1='% '", KeyID: testKey, Agent: a, Decrypt: func(sealed []byte, keyID string, encryptionContext map[string]string) ([]byte, error) {
		var key sealedKey
		if err := json.Unmarshal(sealed, &key); err != nil || keyID != testKey || !maps.Equal(key.EncryptionContext, encryptionContext) {
			return nil, badRequest("InvalidCiphertextException", "")
		}
		return key.Plaintext, nil
	}}
}

// sealedKey is a data key as a client sends it.
type sealedKey struct {
	Plaintext         []byte
	EncryptionContext map[string]string
}

// newDataKey makes a session's data key, as it is and sealed.
func newDataKey(t testing.TB, sessionID, challenge string) (plain, sealed []byte) {
	t.Helper()
	key := sealedKey{make([]byte, 64), map[string]string{"aws:ssm:SessionId": sessionID, "aws:ssm:TargetId": nodeID}}
	if challenge != "" {
		key.EncryptionContext["aws:ssm:RandomChallenge"] = challenge
	}
	rand.Read(key.Plaintext)
	sealed, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return key.Plaintext, sealed
}

// sealed is newDataKey's second result.
func sealed(t testing.TB, sessionID, challenge string) []byte {
	_, sealed := newDataKey(t, sessionID, challenge)
	return sealed
}

// clientCipher decrypts with the agent's key, the first half of a data key, and
// encrypts with the client's.
type clientCipher struct{ agent, client cipher.AEAD }

func newClientCipher(t testing.TB, key []byte) (c clientCipher) {
	t.Helper()
	for i, side := range []*cipher.AEAD{&c.agent, &c.client} {
		block, err := aes.NewCipher(key[32*i : 32*(i+1)])
		if err != nil {
			t.Fatal(err)
		}
		if *side, err = cipher.NewGCMWithRandomNonce(block); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c clientCipher) seal(plain []byte) []byte { return c.client.Seal(nil, nil, plain, nil) }

func (c clientCipher) open(sealed []byte) ([]byte, error) { return c.agent.Open(nil, nil, sealed, nil) }

// encChallenge is the payload of an EncChallengeRequest and its response.
type encChallenge struct{ Challenge []byte }

// kmsRequest reads the HandshakeRequest and returns the challenge in it.
func (c *raw) kmsRequest() (challenge string) {
	c.t.Helper()
	var request struct {
		RequestedClientActions []struct {
			ActionType       string
			ActionParameters struct {
				SessionType, KMSKeyId, Challenge string
				Properties                       json.RawMessage
			}
		}
	}
	m := c.recvNew()
	if err := json.Unmarshal(m.Payload, &request); err != nil {
		c.t.Fatal(err)
	}
	actions := request.RequestedClientActions
	if len(actions) != 2 || actions[0].ActionParameters.SessionType != "Standard_Stream" || string(actions[0].ActionParameters.Properties) != "null" ||
		actions[1].ActionType != "KMSEncryption" || actions[1].ActionParameters.KMSKeyId != testKey {
		c.t.Fatalf("the handshake asks for %s", m.Payload)
	}
	return actions[1].ActionParameters.Challenge
}

// answerKey answers the HandshakeRequest with a data key, or an error.
func (c *raw) answerKey(sealed []byte, challenge bool, refusal string) {
	status := 1
	if refusal != "" {
		status = 2
	}
	result, _ := json.Marshal(map[string]any{"KMSCipherTextKey": sealed, "KMSCipherTextHash": nil, "ChallengeAcknowledgement": challenge})
	c.send(0, ssmproto.HandshakeResponse, fmt.Sprintf(
		`{"ClientVersion":"1.2.896.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""},`+
			`{"ActionType":"KMSEncryption","ActionStatus":%d,"ActionResult":%s,"Error":%q}],"Errors":null}`, status, result, refusal))
	c.next = 1
}

func TestAShellIsEncryptedIfTheAccountSaysSo(t *testing.T) {
	t.Parallel()
	for _, withChallenge := range []bool{true, false} {
		t.Run(fmt.Sprint("challenge ", withChallenge), func(t *testing.T) {
			t.Parallel()
			s := newShellServer(t, encrypting(Agent{NoSleep: true, NoChallenge: !withChallenge}))
			c := startDocument(t, s, preferences, nil)
			challenge := c.kmsRequest()
			if (challenge != "") != withChallenge {
				t.Fatalf("the challenge is %q", challenge)
			}
			key, sealed := newDataKey(t, c.id, challenge)
			ours := newClientCipher(t, key)
			c.answerKey(sealed, withChallenge, "")
			m := c.recvNew()
			var test encChallenge
			if err := json.Unmarshal(m.Payload, &test); err != nil || m.PayloadType != ssmproto.EncChallengeRequest {
				t.Fatalf("%+v, %v", m, err)
			}
			plain, err := ours.open(test.Challenge)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := json.Marshal(encChallenge{ours.seal(plain)})
			c.send(1, ssmproto.EncChallengeResponse, string(answer))
			c.next = 2
			if m := c.recvNew(); m.PayloadType != ssmproto.HandshakeComplete || !strings.Contains(string(m.Payload), `"CustomerMessage":"This session is encrypted using AWS KMS."`) {
				t.Fatalf("got %+v", m)
			}
			seen, last := "", int64(0)
			until := func(text string) {
				for !strings.Contains(seen, text) {
					m := c.recvNew()
					if m.Sequence <= last {
						continue
					}
					plain, err := ours.open(m.Payload)
					if err != nil {
						t.Fatalf("after %q: %v", seen, err)
					}
					seen, last = seen+string(plain), m.Sequence
				}
			}
			until("% ") // the profile's
			c.output(string(ours.seal([]byte("echo $((6*7))\n"))))
			until("42\r\n% ")
		})
	}
}

func TestAHandshakeWithoutTheKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		do     func(c *raw, challenge string)
		reason string
	}{
		{"the client has none", func(c *raw, _ string) { c.answerKey(nil, false, "not allowed") },
			"KMSEncryption failed on client with status 2 error: not allowed"},
		{"the challenge is not in it", func(c *raw, _ string) {
			c.answerKey(sealed(c.t, c.id, ""), true, "")
		}, "Fetching data key failed: Unable to retrieve data key, Error when decrypting data key InvalidCiphertextException: "},
		{"it is another session's", func(c *raw, challenge string) {
			c.answerKey(sealed(c.t, "other", challenge), true, "")
		}, "Fetching data key failed: Unable to retrieve data key, Error when decrypting data key InvalidCiphertextException: "},
		{"the client answers with another key", func(c *raw, challenge string) {
			c.answerKey(sealed(c.t, c.id, challenge), true, "")
			c.recvNew()
			answer, _ := json.Marshal(encChallenge{newClientCipher(c.t, make([]byte, 64)).seal(make([]byte, 64))})
			c.send(1, ssmproto.EncChallengeResponse, string(answer))
		}, "Encryption challenge does not match"},
		{"the client does not answer for it", func(c *raw, _ string) { c.send(0, ssmproto.HandshakeResponse, handshakeAnswer) }, "the answer is"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newShellServer(t, encrypting(Agent{}))
			c := startDocument(t, s, preferences, nil)
			test.do(c, c.kmsRequest())
			if _, reason := c.collect(""); !strings.HasPrefix(reason, `----------ERROR-------\nEncountered error while initiating handshake. `+test.reason) {
				t.Errorf("it ended with %q", reason)
			}
			c.ended()
		})
	}
}

// TestTheClientOfThisModuleAgrees is the only one here that has a client with
// code of its own.
func TestTheClientOfThisModuleAgrees(t *testing.T) {
	t.Parallel()
	s := newShellServer(t, encrypting(Agent{NoSleep: true}))
	client := s.NewDocumentClient(nodeID, "AWS-StartNonInteractiveCommand", map[string][]string{
		"command": {`sh -c 'seq 20000; echo wrong >&2; exit 5'`}, "separateOutputStream": {"true"},
	})
	conn, err := ssmproto.Dial(t.Context(), client, &ssmproto.Config{
		Transport: s.Transport(),
		DataKey: func(_ context.Context, keyID, challenge string) (plain, sealed []byte, err error) {
			plain, sealed = newDataKey(t, s.Sessions()[0].ID(), challenge)
			return plain, sealed, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * wait))
	var stdout, stderr strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, isStderr, err := conn.ReadPart(buf)
		if isStderr {
			stderr.Write(buf[:n])
		} else {
			stdout.Write(buf[:n])
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
	}
	status, ok := conn.ExitStatus()
	if strings.Count(stdout.String(), "\n") != 20000 || !strings.HasSuffix(stdout.String(), "\n20000\n") || stderr.String() != "wrong\n" || status != 5 || !ok {
		t.Errorf("%d bytes of output, %q, status %d (%v)", stdout.Len(), &stderr, status, ok)
	}
}
