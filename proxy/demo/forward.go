package demo

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// dialTimeout bounds a forwarded connection's dial. OpenSSH leaves it to the
// kernel; two minutes of nothing would look like a fault of the tunnel here.
const dialTimeout = 10 * time.Second

// A hosts is the network that the demo instances see. It maps the id of each
// instance to the address on which its SSH server really listens.
type hosts map[string]string

// dialFrom returns the dial function of the instance self, which both its agent
// and its SSH server use. Port 22 of an instance is its SSH server. Any other port
// is that of this machine, and is refused if nothing listens there.
func (h hosts) dialFrom(self string) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if ip := net.ParseIP(host); host == "localhost" || ip.IsLoopback() {
			if port == "22" {
				host = self
			}
		}
		if sshAddr, ok := h[host]; ok {
			address = net.JoinHostPort("localhost", port)
			if port == "22" {
				address = sshAddr
			}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// serveDirect serves the far end of LocalForward, DynamicForward, -W and -J
// (RFC 4254 section 7.2).
func (c *sshConn) serveDirect(ctx context.Context, channel ssh.NewChannel) {
	var open struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(channel.ExtraData(), &open); err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, "malformed direct-tcpip")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	nc, err := c.dial(ctx, "tcp", joinHostPort(open.Host, open.Port))
	cancel()
	if err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		nc.Close()
		return
	}
	c.relay(ch, requests, nc)
}

// serveRequests serves the connection's global requests. It supports RemoteForward
// (RFC 4254 section 7.1) and refuses all others, which OpenSSH's keep-alives
// accept as an answer.
func (c *sshConn) serveRequests(requests <-chan *ssh.Request) {
	var wg sync.WaitGroup
	listeners := make(map[string]net.Listener)
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
		wg.Wait()
	}()
	for req := range requests {
		var ok bool
		var answer []byte
		var bind struct {
			Addr string
			Port uint32
		}
		switch req.Type {
		case "tcpip-forward":
			if ssh.Unmarshal(req.Payload, &bind) != nil {
				break
			}
			// Listen on loopback regardless of the requested address, as sshd
			// does with the default of GatewayPorts.
			l, err := net.Listen("tcp", joinHostPort("127.0.0.1", bind.Port))
			if err != nil {
				break
			}
			ok = true
			if bind.Port == 0 {
				bind.Port = uint32(l.Addr().(*net.TCPAddr).Port)
				answer = ssh.Marshal(struct{ Port uint32 }{bind.Port})
			}
			listeners[joinHostPort(bind.Addr, bind.Port)] = l
			wg.Go(func() { c.acceptForwarded(l, bind.Addr, bind.Port) })
		case "cancel-tcpip-forward":
			if ssh.Unmarshal(req.Payload, &bind) != nil {
				break
			}
			key := joinHostPort(bind.Addr, bind.Port)
			if l := listeners[key]; l != nil {
				ok = true
				l.Close()
				delete(listeners, key)
			}
		}
		if req.WantReply {
			_ = req.Reply(ok, answer)
		}
	}
}

// acceptForwarded passes every connection on l to the client, with the address
// that the client asked for, by which it finds its side of the forward.
func (c *sshConn) acceptForwarded(l net.Listener, addr string, port uint32) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			origin := nc.RemoteAddr().(*net.TCPAddr)
			ch, requests, err := c.conn.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
				Addr       string
				Port       uint32
				OriginHost string
				OriginPort uint32
			}{addr, port, origin.IP.String(), uint32(origin.Port)}))
			if err != nil {
				nc.Close()
				return
			}
			c.relay(ch, requests, nc)
		})
	}
}

// relay copies both ways, passing half-closes on, until both have ended or one
// side is gone for good. It closes both.
func (s *sshd) relay(ch ssh.Channel, requests <-chan *ssh.Request, nc net.Conn) {
	stop := context.AfterFunc(s.ctx, func() { nc.Close() })
	defer stop()
	var wg, copies sync.WaitGroup
	gone := make(chan struct{}) // closed when the client has closed the channel
	wg.Go(func() {
		ssh.DiscardRequests(requests)
		close(gone)
	})
	copies.Go(func() {
		_, _ = io.Copy(nc, ch)
		if half, ok := nc.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		// Wait until everything that the client sent has been forwarded: it
		// may have closed the channel right after sending.
		wg.Go(func() {
			<-gone
			nc.Close()
		})
	})
	copies.Go(func() {
		if _, err := io.Copy(ch, nc); err != nil {
			ch.Close() // a reset, which SSH can only say by closing
			return
		}
		_ = ch.CloseWrite()
	})
	copies.Wait()
	ch.Close()
	wg.Wait()
}

func joinHostPort(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}
