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

// Agent is an ssh-agent for one ssh connection, with a key made for that
// connection. It passes all other requests to the user's own agent, so the user
// keeps all its features: other keys, hardware keys, destination constraints,
// ssh -A.
//
// ssh connects to the agent after the key exchange, so the agent is ready in
// time. It offers its key only once the machine knows it. Its methods are safe
// for concurrent use.
type Agent struct {
	socket *agentSocket
	Public ssh.PublicKey // of the key made for this connection; must not be changed
	blob   []byte        // Public in wire format
	known  <-chan struct{}
	log    *slog.Logger

	mu      sync.Mutex
	private ed25519.PrivateKey // nil once it is no longer needed
	signer  ssh.Signer
	forget  *time.Timer
	conns   map[net.Conn]struct{} // nil once closed
	serving sync.WaitGroup

	users     string // path of the user's own agent; "" if there is none
	id        string // identifies this agent among agents that lead to each other
	accepting listen.Acceptor
	ended     context.Context
	end       context.CancelFunc
}

// NewAgent makes a key, and an agent listening at path that offers it after
// known is closed. Settle must be called before known is closed. The agent
// serves until Close.
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

// Settle says whether the machine knows the key. A key that the machine does
// not know, or no longer knows, is not offered.
func (a *Agent) Settle(known bool) {
	if !known {
		a.drop()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget = time.AfterFunc(Time, a.drop)
}

// drop removes the key from memory.
func (a *Agent) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.private)
	a.private, a.signer = nil, nil
}

// Restore makes the agent's path lead to a live agent again, just before ssh
// uses it.
func (a *Agent) Restore() { a.socket.restore() }

// agentLinger is how long open connections may continue after Close.
const agentLinger = time.Second

// Close ends the agent. Another ssh to the same machine may be connected to
// this agent through the path that they share. It gets time to sign with the
// key that it was offered: it asks once and stays connected until it is
// authenticated.
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

// maxAgentConns is how many connections an agent may have at once, including
// those to other agents.
const maxAgentConns = 256

// hold registers a connection for Close to close, unless there are too many.
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

// The agent protocol's messages that are not just passed on
// (draft-ietf-sshm-ssh-agent; session-bind: OpenSSH's PROTOCOL.agent section
// 1).
const (
	agentFailure       = 5
	agentSuccess       = 6
	agentListRequest   = 11
	agentListAnswer    = 12
	agentSignRequest   = 13
	agentSignResponse  = 14
	agentExtension     = 27
	agentNoExtension   = 28
	maxAgentMessage    = 256 << 10 // the same limit as in ssh
	sessionBindRequest = "session-bind@openssh.com"
)

// agentConn is a connection from ssh, paired with a connection to the user's
// own agent: ssh binds connections to sessions.
type agentConn struct {
	*Agent
	sought    bool     // whether connecting to user was tried, which happens on first use
	user      net.Conn // nil if there is none
	forwarded bool     // the connection comes from the far side, by ssh -A
	via       []string // the ids of the agents that it passed through
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
			return answer // our key is of no use there
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

// ask sends a request to the user's own agent and waits without a limit: the
// agent may ask a person.
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

// withOurs puts our key before the keys in answer: ssh tries keys in that
// order, and servers limit the attempts.
func (c *agentConn) withOurs(answer []byte) []byte {
	var list struct {
		Count uint32 `sshtype:"12"`
		Keys  []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(answer, &list) != nil {
		list.Count, list.Keys = 0, nil // no agent, or one that is locked or broken
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

// bind records what a connection is for, and tells the user's agent.
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
