package ssmtest

import (
	"net"
	"os"
	"sync"
)

// stillConn is a network connection that blocks while a gate is shut.
type stillConn struct {
	net.Conn
	gate   *gate
	once   sync.Once
	closed chan struct{}
}

func (c *stillConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.gate.pass(c.closed) {
		return 0, os.ErrClosed
	}
	return n, err
}

func (c *stillConn) Write(p []byte) (int, error) {
	if !c.gate.pass(c.closed) {
		return 0, os.ErrClosed
	}
	return c.Conn.Write(p)
}

// leave unblocks what waits for the gate.
func (c *stillConn) leave() { c.once.Do(func() { close(c.closed) }) }

func (c *stillConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
