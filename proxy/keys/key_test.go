package keys

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// keys are one private key of each kind.
func keys(t *testing.T) map[string]any {
	_, ed, err1 := ed25519.GenerateKey(rand.Reader)
	rs, err2 := rsa.GenerateKey(rand.Reader, 2048)
	ec, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"ed25519": ed, "rsa": rs, "ecdsa": ec}
}

func publicOf(t *testing.T, private any) ssh.PublicKey {
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s.PublicKey()
}

func TestFileKey(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, text []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	private := keys(t)
	ed, rs, ec := publicOf(t, private["ed25519"]), publicOf(t, private["rsa"]), publicOf(t, private["ecdsa"])
	open, err1 := ssh.MarshalPrivateKey(private["ed25519"], "me@here")
	locked, err2 := ssh.MarshalPrivateKeyWithPassphrase(private["ed25519"], "", []byte("secret"))
	signer, err3 := ssh.NewSignerFromKey(private["ed25519"])
	certificate := &ssh.Certificate{Key: ed, CertType: ssh.UserCert}
	if err := errors.Join(err1, err2, err3, certificate.SignCert(rand.Reader, signer)); err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 it is what old files are
	old, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private["rsa"].(*rsa.PrivateKey)), []byte("secret"), x509.PEMCipherAES128)
	if err != nil {
		t.Fatal(err)
	}
	put("old.pub", ssh.MarshalAuthorizedKey(rs))
	for _, c := range []struct {
		name string
		way  Way
		want ssh.PublicKey
		err  string
	}{
		{put("public", append([]byte("# mine\n"), ssh.MarshalAuthorizedKey(ed)...)), InstanceConnect, ed, ""},
		{put("open", pem.EncodeToMemory(open)), InstanceConnect, ed, ""},
		{put("locked", pem.EncodeToMemory(locked)), InstanceConnect, ed, ""},
		{put("old", pem.EncodeToMemory(old)), InstanceConnect, rs, ""},
		{put("ecdsa", ssh.MarshalAuthorizedKey(ec)), InstanceConnect, nil, "ecdsa-sha2-nistp256: this kind of key cannot be pushed"},
		{put("ecdsa", ssh.MarshalAuthorizedKey(ec)), RunCommand, ec, ""},
		{put("certificate", ssh.MarshalAuthorizedKey(certificate)), RunCommand, nil, "this kind of key cannot be pushed"},
		{put("hostile", []byte("ssh-ed25519 'AAAA'; reboot\n")), RunCommand, nil, "holds no key"},
		{put("empty", nil), InstanceConnect, nil, "holds no key"},
		{put("large", bytes.Repeat([]byte("#\n"), maxKeyFile)), InstanceConnect, nil, "holds no key"},
		{dir, InstanceConnect, nil, "holds no key"},
		{filepath.Join(dir, "none"), InstanceConnect, nil, "no such file"},
	} {
		got, err := FromFile(c.name, c.way)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)),
			c.err == "" && (err != nil || !bytes.Equal(got.Marshal(), c.want.Marshal())):
			t.Errorf("%s, %s: %v, %v", filepath.Base(c.name), c.way, got, err)
		}
	}
}

// serveKeys is an ssh-agent of the user's, until the test's end.
func serveKeys(t *testing.T, a agent.Agent) {
	dir, err := os.MkdirTemp("", "a")
	if err != nil {
		t.Fatal(err)
	}
	log.SetOutput(io.Discard) // agent.ServeAgent tells there of keys that it has not
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { agent.ServeAgent(a, c); c.Close() }()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", l.Addr().String())
}

// TestAgentKey: the first ed25519 key, or else the first that can go that way.
func TestAgentKey(t *testing.T) {
	ring := agent.NewKeyring()
	serveKeys(t, ring)
	private := keys(t)
	add := func(name string) {
		if err := ring.Add(agent.AddedKey{PrivateKey: private[name]}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(way Way, want string) {
		t.Helper()
		got, err := FromAgent(context.Background(), way)
		switch {
		case want == "" && !errors.Is(err, ErrAgentEmpty),
			want != "" && (err != nil || !bytes.Equal(got.Marshal(), publicOf(t, private[want]).Marshal())):
			t.Errorf("%v, %v, not %q", got, err, want)
		}
	}
	check(InstanceConnect, "")
	add("ecdsa")
	check(InstanceConnect, "")
	check(RunCommand, "ecdsa")
	add("rsa")
	check(InstanceConnect, "rsa")
	add("ed25519")
	check(InstanceConnect, "ed25519")
	if err := ring.Lock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	check(InstanceConnect, "")
	t.Setenv("SSH_AUTH_SOCK", "")
	check(InstanceConnect, "")
}
