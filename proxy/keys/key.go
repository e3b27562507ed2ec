package keys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/ssmpipe/ssmpipe/proxy/listen"
	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// maxKeyFile is larger than any key file, in bytes.
const maxKeyFile = 64 << 10

// pushable reports whether key can be pushed by way.
func pushable(way Way, key ssh.PublicKey) bool {
	if _, certificate := key.(*ssh.Certificate); certificate {
		return false
	}
	return way == RunCommand || key.Type() == ssh.KeyAlgoED25519 || key.Type() == ssh.KeyAlgoRSA
}

// FromFile reads the public key in a file, or the public part of the private
// key in it. The error is [ErrKind] if the key cannot be pushed by way.
func FromFile(name string, way Way) (ssh.PublicKey, error) {
	text, err := regular.ReadFile(name, maxKeyFile)
	switch {
	case errors.Is(err, regular.ErrNotRegular), errors.Is(err, regular.ErrTooLarge):
		return nil, fmt.Errorf("%s holds no key", name)
	case err != nil:
		return nil, err
	}
	key := parseKey(text)
	if key == nil {
		// The private key does not contain its public part in the clear.
		if text, err = regular.ReadFile(name+".pub", maxKeyFile); err == nil {
			key = parseKey(text)
		}
	}
	switch {
	case key == nil:
		return nil, fmt.Errorf("%s holds no key, nor does %s.pub", name, name)
	case !pushable(way, key):
		return nil, fmt.Errorf("%s: %s: %w", name, key.Type(), ErrKind)
	}
	return key, nil
}

// parseKey returns the public part of a key in any format, or nil.
func parseKey(text []byte) ssh.PublicKey {
	if key, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
		return key
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err == nil {
		return signer.PublicKey()
	}
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return locked.PublicKey // nil in the old format
	}
	return nil
}

// ErrAgentEmpty says that the user's ssh-agent has no key for the chosen way,
// or that there is no agent.
var ErrAgentEmpty = errors.New("the ssh-agent has no key that can be pushed")

// agentTime limits how long to wait for the user's ssh-agent.
const agentTime = 5 * time.Second

// FromAgent returns the ssh-agent's first ed25519 key, or else its first other
// key that can be pushed. The error is [ErrAgentEmpty] if there is none.
func FromAgent(ctx context.Context, way Way) (ssh.PublicKey, error) {
	path := os.Getenv("SSH_AUTH_SOCK")
	if path == "" {
		return nil, fmt.Errorf("%w: SSH_AUTH_SOCK is not set", ErrAgentEmpty)
	}
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAgentEmpty, listen.ShortOpError(err))
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	list, err := agent.NewClient(conn).List()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrAgentEmpty, strings.TrimPrefix(err.Error(), "agent: "))
	}
	var best ssh.PublicKey
	for _, k := range list {
		key, err := ssh.ParsePublicKey(k.Blob)
		if err != nil || !pushable(way, key) {
			continue
		}
		if key.Type() == ssh.KeyAlgoED25519 {
			return key, nil
		}
		if best == nil {
			best = key
		}
	}
	if best == nil {
		return nil, ErrAgentEmpty
	}
	return best, nil
}
