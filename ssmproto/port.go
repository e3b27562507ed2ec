package ssmproto

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// Port carries connections over a Conn to a port: many at a time, by means of a
// Mux, or, if the agent is old and the Conn not Multiplexed, one after the
// other. All methods may be called concurrently. If the Conn is Multiplexed,
// its methods that read or write must not be called.
type Port struct {
	*Conn
	mux *Mux // nil: one after the other
	wg  sync.WaitGroup
}

// NewPort returns a Port over c. The Port owns c from then on.
func NewPort(c *Conn, cfg MuxConfig) *Port {
	p := &Port{Conn: c}
	switch {
	case c.Multiplexed():
		p.mux = NewMux(c, cfg)
	case cfg.KeepAlive > 0:
		p.wg.Go(func() { c.KeepAlive(cfg.KeepAlive) })
	}
	return p
}

// Open opens a connection as [Mux.Open] does. Without a Mux it returns the only
// connection. Close on that returns once the agent has closed its end; Open
// must not be called again before.
func (p *Port) Open(ctx context.Context) (net.Conn, error) {
	if p.mux == nil {
		return &soleConn{p.Conn}, nil
	}
	return p.mux.Open(ctx)
}

// Stalled is [Mux.Stalled]; without a Mux it is 0.
func (p *Port) Stalled() time.Duration {
	if p.mux == nil {
		return 0
	}
	return p.mux.Stalled()
}

// Close closes all connections and the Conn, and takes no longer than closing
// the Conn.
func (p *Port) Close() error {
	if p.mux != nil {
		return p.mux.Close()
	}
	err := p.Conn.Close()
	p.wg.Wait()
	return err
}

// soleConn is the connection of a Port without a Mux.
type soleConn struct{ *Conn }

// quiet is how long nothing must arrive before the data of an old agent's
// connection is considered complete.
const quiet = 200 * time.Millisecond

// Close makes the agent close its connection; the agent dials again for the
// next one. Data that arrives until then is discarded.
func (c *soleConn) Close() error {
	c.SendFlag(core.DisconnectToPort)
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		c.Flush(ctx)
	}()
	var buf [4 << 10]byte
	for over := false; !over; {
		select {
		case <-acked:
			over = true // unless more arrives
		default:
		}
		c.SetReadDeadline(time.Now().Add(quiet))
		n, err := c.Read(buf[:])
		var timeout net.Error
		if n > 0 {
			over = false
		} else if !errors.As(err, &timeout) || !timeout.Timeout() {
			break
		}
	}
	stop()
	<-acked
	c.SetReadDeadline(time.Time{})
	return nil
}

// KeepAlive sends a flag at the given interval, so that the service considers
// the session in use. Its value is unknown to all agents, so they ignore it.
// KeepAlive returns when c has ended.
func (c *Conn) KeepAlive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.SendFlag(0)
		case <-c.Done():
			return
		}
	}
}
