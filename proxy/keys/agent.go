package keys

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy/listen"
)

// Agent is the ssh-agent that ssh asks for keys, and which has one that
// was made for this connection. All else it leaves to the user's own agent, so
// that with it nothing is lost: other keys, those on hardware, destination
// constraints, ssh -A.
//
// ssh connects to it after the key exchange, so it is there in time. It tells
// of its key only once the machine knows it. Its methods may be called
// concurrently.
type Agent struct {
	socket *agentSocket
	Public ssh.PublicKey // of the key that was made; not to be changed
	blob   []byte        // of public
	known  <-chan struct{}
	log    *slog.Logger

	mu      sync.Mutex
	private ed25519.PrivateKey // nil once it is of no more use
	signer  ssh.Signer
	forget  *time.Timer
	conns   map[net.Conn]struct{} // nil once closed
	serving sync.WaitGroup

	users     string // where the user's own agent is, "" if there is none
	id        string // among agents that lead to each other
	accepting listen.Acceptor
	ended     context.Context
	end       context.CancelFunc
}

// NewAgent makes a key, and an agent at path that tells of it after known is
// closed. Settle must have been called by then. The agent serves until Close.
func NewAgent(path string, known <-chan struct{}, log *slog.Logger) (*Agent, error) {
	a, err := newKeyAgent(known, log)
	if err != nil {
		return nil, err
	}
	if a.socket, err = openAgentSocket(path); err != nil {
		return nil, err
	}
	a.serving.Go(func() {
		a.accepting.Loop(a.ended, a.socket, func(conn net.Conn) {
			a.serving.Go(func() { a.serve(conn) })
		})
	})
	return a, nil
}

// newKeyAgent is NewAgent without a socket.
func newKeyAgent(known <-chan struct{}, log *slog.Logger) (*Agent, error) {
	a := &Agent{known: known, log: log, conns: make(map[net.Conn]struct{}), users: os.Getenv("SSH_AUTH_SOCK"), id: rand.Text()}
	a.ended, a.end = context.WithCancel(context.Background())
	a.accepting.Tell = func(text string) { log.Debug(text) }
	var err error
	if _, a.private, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	if a.signer, err = ssh.NewSignerFromKey(a.private); err != nil {
		return nil, err
	}
	a.Public = a.signer.PublicKey()
	a.blob = a.Public.Marshal()
	return a, nil
}

// Settle says whether the machine knows the key. What it does not know, or not
// any more, is not offered.
func (a *Agent) Settle(known bool) {
	if !known {
		a.drop()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget = time.AfterFunc(Time, a.drop)
}

// drop takes the key out of memory.
func (a *Agent) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.private)
	a.private, a.signer = nil, nil
}

// Restore makes the agent's path lead to a living one again, just before ssh
// looks there.
func (a *Agent) Restore() { a.socket.restore() }

// agentLinger is how long connections may go on that are there at the end.
const agentLinger = time.Second

// Close ends the agent. Another ssh to the same machine, which has found this
// one at the path that they share, gets the time to sign with what it was told
// of: it asks once and stays connected until it is authenticated.
func (a *Agent) Close() {
	a.socket.close()
	a.end()
	a.accepting.Stop()
	served := make(chan struct{})
	go func() {
		a.serving.Wait()
		close(served)
	}()
	select {
	case <-served:
	case <-time.After(agentLinger):
	}
	a.mu.Lock()
	if a.forget != nil {
		a.forget.Stop()
	}
	for c := range a.conns {
		c.Close()
	}
	a.conns = nil
	a.mu.Unlock()
	<-served
	a.drop()
}

// maxAgentConns is how many connections an agent has at once, those to others
// included.
const maxAgentConns = 256

// hold registers a connection, for close to end it, unless there are too many.
func (a *Agent) hold(conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conns == nil || len(a.conns) >= maxAgentConns {
		conn.Close()
		return false
	}
	a.conns[conn] = struct{}{}
	return true
}

func (a *Agent) release(conn net.Conn) {
	conn.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, conn)
}

// The messages of the agent's protocol that are not only passed on
// (draft-ietf-sshm-ssh-agent; session-bind: OpenSSH's PROTOCOL.agent section 1).
const (
	agentFailure       = 5
	agentSuccess       = 6
	agentListRequest   = 11
	agentListAnswer    = 12
	agentSignRequest   = 13
	agentSignResponse  = 14
	agentExtension     = 27
	agentNoExtension   = 28
	maxAgentMessage    = 256 << 10 // as ssh has it
	sessionBindRequest = "session-bind@openssh.com"
)

// agentConn is one connection of ssh's, and that to the user's own agent which
// belongs to it: what ssh binds to a session are connections.
type agentConn struct {
	*Agent
	sought    bool     // user was looked for, which is done when it is first needed
	user      net.Conn // nil: there is none
	forwarded bool     // the connection is the far side's, by way of ssh -A
	via       []string // the ids of agents that it comes by way of
}

func (a *Agent) serve(conn net.Conn) {
	if !a.hold(conn) {
		return
	}
	defer a.release(conn)
	whose := a.socket.whose(conn)
	if whose.other != "" && a.passOn(conn, whose.other) {
		return
	}
	c := &agentConn{Agent: a, sought: whose.unclear}
	defer func() {
		if c.user != nil {
			a.release(c.user)
		}
	}()
	for {
		request, err := readAgentMessage(conn)
		if err != nil {
			return
		}
		if err := writeAgentMessage(conn, c.answer(request)); err != nil {
			return
		}
	}
}

func (c *agentConn) answer(request []byte) []byte {
	switch request[0] {
	case agentListRequest:
		answer := c.ask(request)
		if c.forwarded {
			return answer // there our key opens nothing
		}
		<-c.known
		return c.withOurs(answer)
	case agentSignRequest:
		var r struct {
			Blob  []byte `sshtype:"13"`
			Data  []byte
			Flags uint32
		}
		if !c.forwarded && ssh.Unmarshal(request, &r) == nil && string(r.Blob) == string(c.blob) {
			return c.sign(r.Data)
		}
	case agentExtension:
		var r struct {
			Name string `sshtype:"27"`
			Rest []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(request, &r) == nil {
			switch r.Name {
			case sessionBindRequest:
				return c.bind(request, r.Rest)
			case viaRequest:
				return c.comesVia(r.Rest)
			}
		}
	}
	return c.ask(request)
}

// ask puts a request to the user's own agent, however long that takes: it may
// ask a person.
func (c *agentConn) ask(request []byte) []byte {
	c.seek()
	if c.user != nil {
		err := writeAgentMessage(c.user, request)
		if err == nil {
			var answer []byte
			if answer, err = readAgentMessage(c.user); err == nil {
				return answer
			}
		}
		c.log.Debug("the user's ssh-agent does not answer", "err", err)
		c.release(c.user)
		c.user = nil
	}
	return []byte{agentFailure}
}

// withOurs puts our key before those in answer: ssh tries them in that order,
// and servers count.
func (c *agentConn) withOurs(answer []byte) []byte {
	var list struct {
		Count uint32 `sshtype:"12"`
		Keys  []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(answer, &list) != nil {
		list.Count, list.Keys = 0, nil // none, or one that is locked or broken
	}
	c.mu.Lock()
	ours := c.signer != nil
	c.mu.Unlock()
	if ours {
		key := ssh.Marshal(struct {
			Blob    []byte
			Comment string
		}{c.blob, "ssmpipe"})
		list.Count, list.Keys = list.Count+1, append(key, list.Keys...)
	}
	return ssh.Marshal(&list)
}

func (c *agentConn) sign(data []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.signer == nil {
		return []byte{agentFailure}
	}
	signature, err := c.signer.Sign(rand.Reader, data)
	if err != nil {
		return []byte{agentFailure}
	}
	return ssh.Marshal(struct {
		Signature []byte `sshtype:"14"`
	}{ssh.Marshal(signature)})
}

// bind notes what a connection is for, and tells the user's agent.
func (c *agentConn) bind(request, rest []byte) []byte {
	var r struct {
		HostKey, Session, Signature []byte
		Forwarding                  bool
	}
	if ssh.Unmarshal(rest, &r) == nil && r.Forwarding {
		c.forwarded = true
	}
	if c.seek(); c.user == nil {
		return []byte{agentSuccess}
	}
	return c.ask(request)
}

var errAgentMessage = errors.New("not a message of the agent's protocol")

func readAgentMessage(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxAgentMessage {
		return nil, fmt.Errorf("%w: %d bytes", errAgentMessage, n)
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}

func writeAgentMessage(w io.Writer, message []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(message)), uint32(len(message))), message...))
	return err
}
