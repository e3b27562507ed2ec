package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// forward listens as the session says, and forwards what connects, until the
// session or ctx ends.
func (p *pluginSession) forward(ctx context.Context) error {
	l := newLane(p.conn, ssmproto.MuxConfig{})
	f := &pluginForward{pluginSession: p, lane: l, ctx: ctx, freed: make(chan struct{}, 1)}
	l.freed = func() {
		select {
		case f.freed <- struct{}{}:
		default:
		}
	}
	err := f.run()
	l.close()
	f.wg.Wait()
	return err
}

// pluginForward is the ports of a session.
type pluginForward struct {
	*pluginSession
	lane *lane
	ctx  context.Context
	wg   sync.WaitGroup
	used atomic.Bool // by a connection

	line  sync.Mutex    // held by who is the next to be connected
	freed chan struct{} // a connection has ended
}

func (f *pluginForward) run() error {
	sockets, where, err := pluginSockets(f.request, f.conn.Property)
	if len(sockets) == 0 {
		return err
	}
	if err != nil {
		f.o.Notice(printable(err.Error()))
	}
	accepting := acceptor{tell: f.o.tell}
	defer accepting.stop()
	for _, socket := range sockets {
		f.wg.Go(func() {
			accepting.loop(f.ctx, socket, func(local net.Conn) {
				f.wg.Go(func() { f.handle(local) })
			})
		})
		defer socket.Close() // which removes it
	}
	f.say("%s opened for sessionId %s.\nWaiting for connections...\n", where, f.id)
	select {
	case <-f.conn.Done():
	case <-f.ctx.Done(): // as a forward is ended
		f.say("Terminate signal received, exiting.\n")
		return nil
	}
	err = f.conn.Err()
	refused := errors.Is(err, ssmproto.ErrNotConnected)
	switch {
	case refused && !f.conn.Multiplexed():
		f.say(portRefused) // an old agent dials at once, and ends the session then
	case refused, err == io.EOF:
		return nil // ended by somebody, perhaps before it was used
	}
	return err
}

// portRefused is what AWS's plugin says of a port that does not answer.
const portRefused = "\nConnection to destination port failed, check SSM Agent logs.\n"

// pluginSockets opens the sockets that a session is to have here, and names
// them. With an error there may be one all the same.
func pluginSockets(r *pluginRequest, property func(name string) string) ([]net.Listener, string, error) {
	s, err := r.local(property)
	if err != nil {
		return nil, "", err
	}
	sockets, err := listen(s)
	if err != nil {
		err = fmt.Errorf("%w on %s: %w", ErrForward, s.Listen, shortOpError(err))
	}
	if len(sockets) == 0 {
		return nil, "", err
	}
	if addr, ok := sockets[0].Addr().(*net.TCPAddr); ok {
		return sockets, fmt.Sprintf("Port %d", addr.Port), err
	}
	return sockets, "Unix socket " + s.Listen, err
}

// handle serves one connection of a program's.
func (f *pluginForward) handle(local net.Conn) {
	far, err := f.connect()
	if err != nil {
		abort(local)
		return
	}
	if !f.used.Swap(true) {
		f.say("\nConnection accepted for session [%s]\n", f.id)
	}
	if err := relay(local, far); errors.Is(err, ssmproto.ErrNotConnected) && f.conn.Err() == nil {
		f.say(portRefused)
	}
}

// connect opens a connection over the session; with an old agent when the one
// before has ended.
func (f *pluginForward) connect() (net.Conn, error) {
	f.line.Lock()
	defer f.line.Unlock()
	for {
		if _, room, _ := f.lane.load(); room {
			c := f.lane.reserve()
			return c, c.open(f.ctx)
		}
		select {
		case <-f.freed:
		case <-f.conn.Done():
			return nil, f.conn.Err()
		case <-f.ctx.Done():
			return nil, context.Cause(f.ctx)
		}
	}
}
