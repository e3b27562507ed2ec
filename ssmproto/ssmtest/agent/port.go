package agent

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
)

// forwarding reports whether the session's document is one that forwards a
// port, not the one for ssh.
func (a *Agent) forwarding() bool { return a.job.Properties["type"] == LocalPortForwarding }

// redials reports whether the agent makes one connection after the other.
func (a *Agent) redials() bool { return a.forwarding() && !a.multiplexes() }

// dial connects to the port, or prepares for many connections to it, or starts
// the program, without blocking.
func (a *Agent) dial() {
	if a.job.SessionType != PortSession {
		a.startProgram()
		return
	}
	if address := a.forbidden(); address != "" {
		a.endWith("Forwarding to IP address " + address + " is forbidden.")
		return
	}
	a.phase = dialing
	a.job.Service.Go(func() {
		var port io.WriteCloser // nil: could not connect
		if a.multiplexes() {
			port = a.serveMux()
		} else if p, err := a.dialPort(); err == nil {
			port = p
		}
		a.handOver(port)
	})
}

// noLoopback is the first version that does not forward to a host that is, or
// resolves to, a loopback address.
const noLoopback = "3.3.4851.0"

// forbidden returns the address that the agent refuses to forward to, if the
// session's host resolves to one.
func (a *Agent) forbidden() string {
	address := a.job.ToHost
	if address == "" || compareVersions(a.job.Config.Version, noLoopback) < 0 {
		return ""
	}
	if known, ok := a.job.Hosts[address]; ok {
		address = known
	}
	if ip := net.ParseIP(address); strings.EqualFold(address, "localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		return address
	}
	return ""
}

// handOver passes to run what dial has made.
func (a *Agent) handOver(port io.WriteCloser) {
	a.dialed <- port
	if a.ctx.Err() == nil {
		return
	}
	select { // run may be gone
	case port := <-a.dialed:
		if port != nil {
			port.Close()
		}
	default:
	}
}

// connect starts to carry bytes between client and port, or program. port is
// nil if nothing listens there.
func (a *Agent) connect(port io.WriteCloser) {
	if port == nil {
		a.end()
		return
	}
	pumped := make(chan struct{})
	a.port, a.pumped = port, pumped
	a.phase = connected
	a.job.Service.Go(func() {
		defer close(pumped)
		switch port := port.(type) {
		case *program:
			port.pump()
		case io.Reader:
			a.outbox.portLoop(port)
		}
		if a.redials() {
			port.Close() // the client is not told; its next data goes to the next connection
		} else if a.ctx.Err() == nil && a.outbox.flushed(flushTime) {
			a.end()
		}
	})
}

// writePort writes the in-order data to the port.
func (a *Agent) writePort() {
	for data := a.toPort; len(data) > 0; {
		n, err := a.port.Write(data)
		if err == nil {
			break
		}
		data = data[n:]
		a.port.Close() // its reader ends the session
		if !a.redials() || !a.redial() {
			break
		}
	}
	a.toPort = emptied(a.toPort)
}

// redial replaces a connection that is closed. The agent handles nothing else
// meanwhile.
func (a *Agent) redial() bool {
	<-a.pumped
	port, err := a.dialPort()
	switch {
	case err == nil:
		a.connect(port)
	case a.ctx.Err() == nil:
		a.end()
	}
	return err == nil
}

// portConn is a connection of an agent to its port. It ends when the agent
// ends, at the latest.
type portConn struct {
	net.Conn
	a      *Agent
	once   sync.Once
	forget func() bool // stops the agent's end from closing it
}

func (a *Agent) dialPort() (*portConn, error) {
	dial := a.job.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	host := a.job.Properties["host"]
	if host == "" {
		host = "localhost"
	}
	conn, err := dial(a.ctx, "tcp", net.JoinHostPort(host, a.job.Properties["portNumber"]))
	if err != nil {
		a.job.Service.Logf("%v", err)
		return nil, err
	}
	a.dials.Add(1)
	a.connections.Add(1)
	p := &portConn{Conn: conn, a: a}
	p.forget = context.AfterFunc(a.ctx, func() { p.close() })
	return p, nil
}

// Read and Write count bytes, and block while the agents are stalled.
func (p *portConn) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.a.down.Add(int64(n))
	if !p.a.running() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (p *portConn) Write(b []byte) (int, error) {
	if !p.a.running() {
		return 0, net.ErrClosed
	}
	n, err := p.Conn.Write(b)
	p.a.up.Add(int64(n))
	return n, err
}

func (p *portConn) Close() error {
	p.forget()
	return p.close()
}

func (p *portConn) close() (err error) {
	p.once.Do(func() {
		err = p.Conn.Close()
		p.a.connections.Add(-1)
	})
	return err
}
