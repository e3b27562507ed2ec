package agent

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// Sizes for encryption, in bytes.
const (
	dataKeySize         = 64 // the agent's key, then the client's
	nonceSize           = 12 // AES-GCM's, in front of the ciphertext
	randomChallengeSize = 16 // in the encryption context
	challengeSize       = 64 // in EncChallengeRequest
)

// agentCipher encrypts with the agent's key and decrypts with the client's.
type agentCipher struct{ agent, client cipher.AEAD }

func newAgentCipher(dataKey []byte) (*agentCipher, error) {
	if len(dataKey) != dataKeySize {
		return nil, fmt.Errorf("the data key has %d bytes, not %d", len(dataKey), dataKeySize)
	}
	var c agentCipher
	for i, side := range []*cipher.AEAD{&c.agent, &c.client} {
		block, err := aes.NewCipher(dataKey[i*dataKeySize/2 : (i+1)*dataKeySize/2])
		if err != nil {
			return nil, err
		}
		if *side, err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

func (c *agentCipher) seal(plain []byte) []byte {
	nonce := make([]byte, nonceSize, nonceSize+len(plain)+c.agent.Overhead())
	rand.Read(nonce)
	return c.agent.Seal(nonce, nonce, plain, nil)
}

func (c *agentCipher) open(sealed []byte) ([]byte, error) {
	if len(sealed) < nonceSize {
		return nil, errors.New("too short to be encrypted")
	}
	return c.client.Open(nil, sealed[:nonceSize], sealed[nonceSize:], nil)
}

// The handshake's data for encryption, as the agent writes and reads it.
type (
	kmsParameters struct {
		KMSKeyId  string
		Challenge string `json:",omitempty"`
	}
	kmsResult struct {
		KMSCipherTextKey         []byte
		ChallengeAcknowledgement bool
	}
	encChallenge struct{ Challenge []byte }
)

// encrypts reports whether the agent requests encryption: it does for a shell
// or a command if there is a key.
func (a *Agent) encrypts() bool { return a.keyID() != "" && !a.job.Config.NoHandshake }

func (a *Agent) keyID() string {
	if a.job.SessionType == PortSession {
		return ""
	}
	return a.job.KeyID
}

// requestKey returns the action that requests a data key.
func (a *Agent) requestKey() clientAction {
	p := kmsParameters{KMSKeyId: a.keyID()}
	if !a.job.Config.NoChallenge {
		random := make([]byte, randomChallengeSize)
		rand.Read(random)
		a.randomChallenge = base64.StdEncoding.EncodeToString(random)
		p.Challenge = a.randomChallenge
	}
	return clientAction{"KMSEncryption", p}
}

// takeKey has the client's data key decrypted and uses it.
func (a *Agent) takeKey(result json.RawMessage) error {
	var r kmsResult
	if err := json.Unmarshal(result, &r); err != nil {
		return err
	}
	encryptionContext := map[string]string{"aws:ssm:SessionId": a.job.SessionID, "aws:ssm:TargetId": a.job.NodeID}
	if r.ChallengeAcknowledgement {
		encryptionContext["aws:ssm:RandomChallenge"] = a.randomChallenge
	}
	plain, err := a.job.Decrypt(r.KMSCipherTextKey, a.keyID(), encryptionContext)
	if err != nil {
		return agentError(fmt.Sprintf("Fetching data key failed: Unable to retrieve data key, Error when decrypting data key %v", err))
	}
	a.cipher, err = newAgentCipher(plain)
	return err
}

// sendChallenge makes the client prove that it has the same key.
func (a *Agent) sendChallenge() {
	a.challenge = make([]byte, challengeSize)
	rand.Read(a.challenge)
	a.outbox.sendJSON(core.EncChallengeRequest, encChallenge{a.cipher.seal(a.challenge)})
}

// challengeAnswered handles the EncChallengeResponse.
func (a *Agent) challengeAnswered(payload []byte) {
	if a.phase != handshaking || a.challenge == nil {
		return
	}
	var answer encChallenge
	err := json.Unmarshal(payload, &answer)
	if err == nil {
		answer.Challenge, err = a.cipher.open(answer.Challenge)
	}
	if err != nil || !bytes.Equal(answer.Challenge, a.challenge) {
		a.refuse(fmt.Sprintf("Encryption challenge does not match: %v", err))
		return
	}
	a.challenge = nil
	a.completeHandshake()
}

// refuse ends a session whose handshake failed.
func (a *Agent) refuse(why string) {
	a.job.Service.Logf("handshake refused: %s", why)
	a.deaf = true
	a.timer.Stop()
	a.endWith(errorReason + "Encountered error while initiating handshake. " + why)
}
