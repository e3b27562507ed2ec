package demo

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A key is a throwaway ed25519 key pair.
type key struct {
	private ed25519.PrivateKey
	signer  ssh.Signer
}

func newKey() (key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return key{}, fmt.Errorf("make a key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return key{}, fmt.Errorf("make a key: %w", err)
	}
	return key{private, signer}, nil
}

// privateFile returns the key in the format of an IdentityFile.
func (k key) privateFile() ([]byte, error) {
	block, err := ssh.MarshalPrivateKey(k.private, "ssmpipe demo")
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(block), nil
}

// publicLine returns the key as a known_hosts entry without the host.
func (k key) publicLine() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
}
