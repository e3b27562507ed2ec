package keys

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy/private"
	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// madeFor is how long a made key is used.
const madeFor = 24 * time.Hour

// madeComment marks the keys that ssmpipe made. Files without it are never
// overwritten.
const madeComment = "made by ssmpipe, which replaces it daily"

// madeLockTime is how long to wait for another process that is writing the key.
const madeLockTime = 2 * time.Second

// Made is the key that ssmpipe keeps in ~/.ssh/ssmpipe, for an ssh that cannot
// use our agent.
//
// ssh reads the public key when it starts and the private key when it
// authenticates; both must belong to the same pair. So a process that uses the
// key holds a shared lock until ssh has finished with it. An old key is
// replaced when a process ends, under an exclusive lock, or else when the next
// one ends. (One race remains: an ssh that has just started, and whose ssmpipe
// does not hold the lock yet. It fails, at most once a day, and the next
// attempt succeeds.)
type Made struct {
	name   string // name of the private key's file
	Public ssh.PublicKey
	lock   *flock.Flock
	done   func() // ends the use of the key; may be called more than once
}

// OpenMade returns the key, making it if there is none. Close must be called.
func OpenMade(ctx context.Context) (*Made, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(home, ".ssh", "ssmpipe")
	if err := private.Dir(dir); err != nil {
		return nil, err
	}
	m := &Made{name: filepath.Join(dir, "key")}
	m.lock = flock.New(m.name+".lock", flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, madeLockTime)
	defer cancel()
	if err := m.open(ctx); err != nil {
		m.lock.Close()
		return nil, err
	}
	m.done = sync.OnceFunc(func() { m.lock.Unlock() })
	time.AfterFunc(Time, m.done)
	return m, nil
}

func (m *Made) open(ctx context.Context) error {
	for {
		if _, err := m.lock.TryRLockContext(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("%s.lock: %w", m.name, err)
		}
		var err error
		if m.Public, err = m.read(); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.lock.Unlock()
		if _, err := m.lock.TryLockContext(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("%s.lock: %w", m.name, err)
		}
		if _, err := m.read(); errors.Is(err, fs.ErrNotExist) { // may have been made meanwhile
			if err := m.write(); err != nil {
				return err
			}
		}
		m.lock.Unlock()
	}
}

// read returns the public part of the key in the file, if ssmpipe made it, and
// writes the public key file that ssh reads.
func (m *Made) read() (ssh.PublicKey, error) {
	text, err := regular.ReadFile(m.name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	// The key is not encrypted, so the comment is in the clear.
	block, _ := pem.Decode(text)
	if block == nil || !bytes.Contains(block.Bytes, []byte(madeComment)) {
		return nil, fmt.Errorf("%s is not a key made by ssmpipe: move it elsewhere", m.name)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	public := signer.PublicKey()
	want := publicFile(public)
	switch have, err := regular.ReadFile(m.name+".pub", maxKeyFile); {
	case errors.Is(err, fs.ErrNotExist), err == nil && !bytes.Equal(have, want) && bytes.Contains(have, []byte(madeComment)):
		return public, m.replace(m.name+".pub", want)
	case err != nil:
		return nil, err
	case !bytes.Equal(have, want):
		return nil, fmt.Errorf("%s.pub does not belong to a key made by ssmpipe: move it elsewhere", m.name)
	}
	return public, nil
}

func publicFile(key ssh.PublicKey) []byte {
	return append(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key)), " "+madeComment+"\n"...)
}

// write makes a new key pair.
func (m *Made) write() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, madeComment)
	if err != nil {
		return err
	}
	if err := m.replace(m.name, pem.EncodeToMemory(block)); err != nil {
		return err
	}
	return m.replace(m.name+".pub", publicFile(key))
}

// replace atomically writes a file with mode 0600.
func (m *Made) replace(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".key")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// Close ends the use of the key, and replaces the key if it is old and no other
// process uses it.
func (m *Made) Close() error {
	m.done()
	defer m.lock.Close()
	if !m.old() {
		return nil
	}
	if locked, err := m.lock.TryLock(); err != nil || !locked {
		return err
	}
	if !m.old() {
		return nil // another process has done it
	}
	if _, err := m.read(); err != nil {
		return err
	}
	return m.write()
}

func (m *Made) old() bool {
	info, err := os.Stat(m.name)
	if err != nil {
		return false
	}
	age := time.Since(info.ModTime())
	return age > madeFor || age < -madeFor // the clock was wrong
}
