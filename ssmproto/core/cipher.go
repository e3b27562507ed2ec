package core

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// dataKeyLen is the length of a session's data key in bytes: two AES-256 keys.
const dataKeyLen = 64

// Cipher encrypts and decrypts a session's payloads with AES-256-GCM, the nonce
// in front of the ciphertext. Its methods may be called concurrently.
type Cipher struct {
	ours, theirs cipher.AEAD
}

// NewCipher splits a data key of 64 bytes: its first half is the agent's key,
// which we decrypt with, its second half is ours.
func NewCipher(key []byte) (*Cipher, error) {
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
	return &Cipher{ours: ours, theirs: theirs}, nil
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
func (c *Cipher) seal(frame []byte, head int) []byte {
	return append(frame[:head], c.ours.Seal(nil, nil, frame[head:], nil)...)
}

// open decrypts a payload.
func (c *Cipher) open(payload []byte) ([]byte, error) {
	plain, err := c.theirs.Open(nil, nil, payload, nil)
	if err != nil {
		return nil, errors.New("a payload could not be decrypted: the agent uses another key")
	}
	return plain, nil
}

// Challenge decrypts a challenge that the agent encrypted with its key and
// encrypts it with ours, to prove that both have the same data key.
func (c *Cipher) Challenge(sealed []byte) ([]byte, error) {
	plain, err := c.open(sealed)
	if err != nil {
		return nil, err
	}
	return c.ours.Seal(nil, nil, plain, nil), nil
}
