package ssmproto

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Port carries connections over a Conn to a port: many at a time, by way of a
// Mux, or, if the agent is old and the Conn not Multiplexed, one after the other.
// All methods may be called concurrently. Of a Multiplexed one's Conn only what
// does not read or write may be used.
type Port struct {
	*Conn
	mux *Mux // nil: one after the other
	wg  sync.WaitGroup
}

// NewPort makes a Port of c, and owns it from then on.
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

// Open opens a connection as [Mux.Open] does. Without a Mux it only begins to use
// the connection there is; closing it takes until the agent has hung up and
// another can be opened, which must not be done before.
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

// Close closes all connections and the Conn, and takes no longer than that.
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

// quiet is how long nothing may come before what an old agent's port has sent
// is over.
const quiet = 200 * time.Millisecond

// Close makes the agent close its connection; it dials again for the next. What
// comes until then belongs to nobody.
func (c *soleConn) Close() error {
	c.SendFlag(DisconnectToPort)
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
			over = true // after one more wait
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

// KeepAlive sends, each time, a flag of a value that no agent knows, so that all
// ignore it and the service sees the session in use. It returns when c has ended.
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
