package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// shortSocket is a path that is not too long for a socket.
func shortSocket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "a")
}

// testAgent is an Agent without a socket, and a connection to it.
func testAgent(t *testing.T) (a *Agent, conn net.Conn, known chan struct{}) {
	t.Helper()
	known = make(chan struct{})
	a, err := newKeyAgent(known, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a.socket = &agentSocket{}
	conn, far := net.Pipe()
	a.serving.Go(func() { a.serve(far) })
	t.Cleanup(func() { conn.Close() })
	return a, conn, known
}

// TestIdentityAgentForgets: the key is told when the machine knows it, signs for
// a minute, and is then nowhere.
func TestIdentityAgentForgets(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	synctest.Test(t, func(t *testing.T) {
		a, conn, known := testAgent(t)
		defer conn.Close()
		client := agent.NewClient(conn)
		private := a.private
		var list []*agent.Key
		listed := make(chan struct{})
		go func() {
			list, _ = client.List()
			close(listed)
		}()
		synctest.Wait()
		select {
		case <-listed:
			t.Fatal("told before it was known")
		default:
		}
		a.Settle(true)
		close(known)
		<-listed
		if len(list) != 1 || !bytes.Equal(list[0].Blob, a.blob) {
			t.Fatalf("%v", list)
		}
		data := []byte("data")
		signature, err := client.Sign(list[0], data)
		if err != nil || a.Public.Verify(data, signature) != nil {
			t.Errorf("%v, %v", signature, err)
		}
		time.Sleep(Time - time.Second)
		if list, err := client.List(); err != nil || len(list) != 1 {
			t.Errorf("before the minute is over: %v, %v", list, err)
		}
		time.Sleep(2 * time.Second)
		if _, err := client.Sign(list[0], data); err == nil {
			t.Error("signs afterwards")
		}
		if list, err := client.List(); err != nil || len(list) != 0 {
			t.Errorf("afterwards: %v, %v", list, err)
		}
		if !bytes.Equal(private, make([]byte, ed25519.PrivateKeySize)) {
			t.Error("the key is still in memory")
		}
	})
}

// TestIdentityAgentKeepsAKeyThatIsNotKnown to itself.
func TestIdentityAgentKeepsAKeyThatIsNotKnown(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	a, conn, known := testAgent(t)
	client := agent.NewClient(conn)
	a.Settle(false)
	close(known)
	if list, err := client.List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestIdentityAgentPassesOn what is not its own to the user's agent, as it is.
func TestIdentityAgentPassesOn(t *testing.T) {
	ring := agent.NewKeyring()
	theirs := &told{ExtendedAgent: ring.(agent.ExtendedAgent)}
	serveKeys(t, theirs)
	a, conn, known := testAgent(t)
	client := agent.NewClient(conn)
	a.Settle(true)
	close(known)
	private := keys(t)
	for _, name := range []string{"rsa", "ecdsa"} {
		if err := client.Add(agent.AddedKey{PrivateKey: private[name], Comment: name}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := client.List()
	if err != nil || len(list) != 3 || list[0].Comment != "ssmpipe" || list[1].Comment != "rsa" || list[2].Comment != "ecdsa" {
		t.Fatalf("%v, %v", list, err)
	}
	data := []byte("data")
	signature, err := client.SignWithFlags(list[1], data, agent.SignatureFlagRsaSha512)
	if err != nil || signature.Format != ssh.KeyAlgoRSASHA512 || publicOf(t, private["rsa"]).Verify(data, signature) != nil {
		t.Errorf("%v, %v", signature, err)
	}
	if _, err := client.Extension("query", []byte("what")); err != nil || string(theirs.extension) != "what" {
		t.Errorf("%v, told %q", err, theirs.extension)
	}
	// One that is forwarded is the far side's: nothing there is opened by ours.
	bind := ssh.Marshal(struct {
		HostKey, Session, Signature []byte
		Forwarding                  bool
	}{[]byte("a"), []byte("b"), []byte("c"), true})
	if _, err := client.Extension(sessionBindRequest, bind); err != nil || !bytes.Equal(theirs.extension, bind) {
		t.Errorf("%v, told %q", err, theirs.extension)
	}
	ours := list[0]
	if list, err := client.List(); err != nil || len(list) != 2 || list[0].Comment != "rsa" {
		t.Errorf("forwarded: %v, %v", list, err)
	}
	if _, err := client.Sign(ours, data); err == nil {
		t.Error("forwarded, and signs with ours")
	}
	if err := client.RemoveAll(); err != nil {
		t.Error(err)
	}
	if list, _ := ring.List(); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// told is an agent that notes extensions.
type told struct {
	agent.ExtendedAgent
	extension []byte
}

func (a *told) Extension(_ string, contents []byte) ([]byte, error) {
	a.extension = contents
	return []byte{agentSuccess}, nil
}

// TestIdentityAgentWithoutTheUsers says so of what it cannot do, and ssh's bind
// is no error.
func TestIdentityAgentWithoutTheUsers(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "none"))
	_, conn, known := testAgent(t)
	client := agent.NewClient(conn)
	close(known)
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	if err := client.Add(agent.AddedKey{PrivateKey: private}); err == nil {
		t.Error("a key was added to nothing")
	}
	if err := client.Lock([]byte("x")); err == nil {
		t.Error("locked")
	}
	if _, err := client.Extension(sessionBindRequest, nil); err != nil {
		t.Error(err)
	}
	if _, err := client.Extension("query", nil); err == nil {
		t.Error("an extension that nobody has")
	}
}

// TestIdentityAgentEndsWhenNobodyNeedsIt: an ssh that has been told of the key
// may still sign with it, but is not waited for without end.
func TestIdentityAgentEndsWhenNobodyNeedsIt(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	known := make(chan struct{})
	close(known)
	for _, stays := range []bool{false, true} {
		a, err := NewAgent(shortSocket(t), known, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", a.socket.path)
		if err != nil {
			t.Fatal(err)
		}
		client := agent.NewClient(conn)
		list, err := client.List()
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		ended := make(chan struct{})
		go func() {
			a.Close()
			close(ended)
		}()
		for gone := false; !gone; {
			_, err := net.Dial("unix", a.socket.path)
			gone = err != nil
		}
		if _, err := client.Sign(list[0], []byte("data")); err != nil {
			t.Error(err)
		}
		if !stays {
			conn.Close()
		}
		select {
		case <-ended:
		case <-time.After(10 * agentLinger):
			t.Fatal("does not end")
		}
		conn.Close()
	}
}

// TestIdentityAgentIsNotUpset by what is no message.
func TestIdentityAgentIsNotUpset(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	for _, c := range []struct {
		sent    []byte
		answers bool
	}{
		{[]byte{0, 0, 0, 0}, false},
		{[]byte{0xff, 0xff, 0xff, 0xff}, false},
		{[]byte{0, 0, 0, 1, agentSignRequest}, true},
		{[]byte{0, 0, 0, 5, agentSignRequest, 0xff, 0xff, 0xff, 0xff}, true},
		{[]byte{0, 0, 0, 1, agentExtension}, true},
		{[]byte{0, 0, 0, 1, 200}, true},
	} {
		_, conn, known := testAgent(t)
		close(known)
		go conn.Write(c.sent)
		if !c.answers {
			if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%x: %d, %v", c.sent, n, err)
			}
			continue
		}
		answer := make([]byte, 5)
		if _, err := io.ReadFull(conn, answer); err != nil || binary.BigEndian.Uint32(answer) != 1 || answer[4] != agentFailure {
			t.Errorf("%x: %x, %v", c.sent, answer, err)
		}
	}
}
