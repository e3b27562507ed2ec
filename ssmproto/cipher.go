package ssmproto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// dataKeyLen is the length of a session's data key in bytes: two AES-256 keys.
const dataKeyLen = 64

// streamCipher encrypts and decrypts a session's payloads with AES-256-GCM,
// the nonce in front of the ciphertext.
type streamCipher struct {
	ours, theirs cipher.AEAD
}

// newStreamCipher splits a data key: its first half is the agent's key, which
// we decrypt with, its second half is ours.
func newStreamCipher(key []byte) (*streamCipher, error) {
	if len(key) != dataKeyLen {
		return nil, fmt.Errorf("data key of %d bytes, want %d", len(key), dataKeyLen)
	}
	theirs, err := newGCM(key[:dataKeyLen/2])
	if err != nil {
		return nil, err
	}
	ours, err := newGCM(key[dataKeyLen/2:])
	if err != nil {
		return nil, err
	}
	return &streamCipher{ours: ours, theirs: theirs}, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	// The agent puts a random nonce in front of each ciphertext.
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts frame[head:] and returns the frame, which may have moved.
func (c *streamCipher) seal(frame []byte, head int) []byte {
	return append(frame[:head], c.ours.Seal(nil, nil, frame[head:], nil)...)
}

// open decrypts a payload.
func (c *streamCipher) open(payload []byte) ([]byte, error) {
	plain, err := c.theirs.Open(nil, nil, payload, nil)
	if err != nil {
		return nil, errors.New("a payload could not be decrypted: the agent uses another key")
	}
	return plain, nil
}

// challenge decrypts a challenge that the agent encrypted with its key and
// encrypts it with ours, to prove that both have the same data key.
func (c *streamCipher) challenge(sealed []byte) ([]byte, error) {
	plain, err := c.open(sealed)
	if err != nil {
		return nil, err
	}
	return c.ours.Seal(nil, nil, plain, nil), nil
}

// randomSeed seeds the generator of message ids.
func randomSeed() (seed [32]byte) {
	rand.Read(seed[:]) // never fails
	return seed
}
