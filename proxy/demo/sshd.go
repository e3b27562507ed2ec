package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// handshakeTimeout bounds how long a connection may stay without a login, as
// sshd's LoginGraceTime does.
const handshakeTimeout = 30 * time.Second

// A dialFunc opens connections as the instance would.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// An sshd is the SSH server of one demo instance. It runs commands as the user
// who runs the demo, so it listens on loopback only and accepts exactly one key,
// which exists as long as the demo does.
type sshd struct {
	name     string // the instance's id, for the prompt
	home     string // HOME, and where commands and sftp start
	dial     dialFunc
	listener net.Listener
	config   *ssh.ServerConfig

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// startSSHD serves on a free port of 127.0.0.1 until Close.
func startSSHD(name, home string, hostKey ssh.Signer, clientKey ssh.PublicKey, dial dialFunc) (*sshd, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("ssh server of %s: %w", name, err)
	}
	s := &sshd{name: name, home: home, dial: dial, listener: listener}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	allowed := clientKey.Marshal()
	s.config = &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-ssmpipe_demo",
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), allowed) {
				return nil, errors.New("not the demo's key")
			}
			return nil, nil
		},
	}
	s.config.AddHostKey(hostKey)
	s.wg.Go(s.serve)
	return s, nil
}

// Addr returns the address on which the server listens, as host:port.
func (s *sshd) Addr() string { return s.listener.Addr().String() }

// Close ends every connection, kills what runs in them, and waits for both.
func (s *sshd) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.wg.Wait()
	return err
}

func (s *sshd) serve() {
	for {
		nc, err := s.listener.Accept()
		switch {
		case err == nil:
			s.wg.Go(func() { s.serveConn(nc) })
		case s.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			// Probably out of file descriptors. As net/http does, try again
			// when some may have been released.
			select {
			case <-s.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// An sshConn is one client's connection.
type sshConn struct {
	*sshd
	conn *ssh.ServerConn
}

func (s *sshd) serveConn(nc net.Conn) {
	defer nc.Close()
	stop := context.AfterFunc(s.ctx, func() { nc.Close() })
	defer stop()

	_ = nc.SetDeadline(time.Now().Add(handshakeTimeout))
	conn, channels, requests, err := ssh.NewServerConn(nc, s.config)
	if err != nil {
		return // the client has been told; there is no log to tell
	}
	_ = nc.SetDeadline(time.Time{})

	// Everything below ends with the connection, which closes the channels,
	// the requests and the channels' request queues.
	c := &sshConn{sshd: s, conn: conn}
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.serveRequests(requests) })
	for channel := range channels {
		switch channel.ChannelType() {
		case "session":
			wg.Go(func() { c.serveSession(channel) })
		case "direct-tcpip":
			wg.Go(func() { c.serveDirect(ctx, channel) })
		default:
			_ = channel.Reject(ssh.UnknownChannelType, "the demo supports only session and direct-tcpip")
		}
	}
	cancel()
	wg.Wait()
}
