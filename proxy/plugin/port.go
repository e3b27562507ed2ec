package plugin

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/forward"
	"github.com/ssmpipe/ssmpipe/proxy/listen"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/proxy/tunnel"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// forward listens where the session says and forwards connections until the
// session or ctx ends.
//
// It uses only the session that it was given, with one exception: when the agent
// is silent, as after a reboot of its machine, new connections use another
// session, started with the same request. forward then ends with the last
// session.
func (p *pluginSession) forward(ctx context.Context) error {
	sessions, end := context.WithCancelCause(ctx)
	defer end(nil)
	programs, abortPrograms := context.WithCancel(ctx)
	defer abortPrograms()
	f := &pluginForward{pluginSession: p, ctx: ctx, sessions: sessions, programs: programs}
	f.tunnel = &tunnel.Tunnel{
		Open: f.open,
		Held: math.MaxInt64, // a program that does not read is no reason to start another session
		Log:  p.o.Log.Info,
		Changed: func(s tunnel.State, err error) {
			if s == tunnel.Down || stream.Forbidden(err) {
				end(err)
			}
		},
		Replaced: func() {
			p.o.Notice(fmt.Sprintf("%s: %v; earlier connections are closed", p.o.Target, tunnel.ErrReplaced))
		},
	}
	f.tunnel.Run(sessions, 1)
	err := f.run()
	f.tunnel.Close()
	defer time.AfterFunc(tunnel.LingerTime, abortPrograms).Stop() // do not wait for programs that do not read
	f.wg.Wait()
	return err
}

// pluginForward forwards the port of a session.
type pluginForward struct {
	*pluginSession
	tunnel   *tunnel.Tunnel
	ctx      context.Context
	sessions context.Context // also ends with the last session
	programs context.Context // their connections are aborted when it ends
	wg       sync.WaitGroup
	used     atomic.Bool // by a connection

	mu    sync.Mutex
	taken bool   // the session that was given
	told  string // last reported reason why another could not be started
}

// open returns the given session on the first call, and a new session on each
// later one.
func (f *pluginForward) open(ctx context.Context) (stream.Port, error) {
	f.mu.Lock()
	first := !f.taken
	f.taken = true
	f.mu.Unlock()
	if first {
		return ssmproto.NewPort(f.conn, ssmproto.MuxConfig{}), nil
	}
	port, err := f.another(ctx)
	why := ""
	switch {
	case ctx.Err() != nil:
		return port, err
	case err != nil:
		why = f.o.Cause(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if why != "" && why != f.told {
		f.o.Notice(safetext.Printable(fmt.Sprintf("%s: the session does not answer, and another could not be started (%s); if new connections do not work soon, start the command again", f.o.Target, why)))
	}
	f.told = why
	return port, err
}

func (f *pluginForward) run() error {
	sockets, where, err := pluginSockets(f.request, f.conn.Property)
	if len(sockets) == 0 {
		return err
	}
	if err != nil {
		f.o.Notice(safetext.Printable(err.Error()))
	}
	accepting := listen.Acceptor{Tell: f.o.Tell}
	defer accepting.Stop()
	for _, socket := range sockets {
		f.wg.Go(func() {
			accepting.Loop(f.sessions, socket, func(local net.Conn) {
				f.wg.Go(func() { f.handle(local) })
			})
		})
		defer socket.Close() // which removes it
	}
	f.say("%s opened for sessionId %s.\nWaiting for connections...\n", where, f.id)
	<-f.sessions.Done()
	if f.ctx.Err() != nil { // the usual way to end a forward
		f.say("Terminate signal received, exiting.\n")
		return nil
	}
	err = context.Cause(f.sessions)
	refused := stream.Refused(err)
	switch {
	case refused && !f.conn.Multiplexed():
		f.say(portRefused) // an old agent dials at once and, on failure, ends the session
	case refused, err == io.EOF:
		return nil // ended by someone else, perhaps before it was used
	}
	return err
}

// portRefused is the message of AWS's plugin for a port that does not answer.
const portRefused = "\nConnection to destination port failed, check SSM Agent logs.\n"

// pluginSockets opens the local sockets of a session and returns a description
// of them. It may return sockets along with an error.
func pluginSockets(r *pluginRequest, property func(name string) string) ([]net.Listener, string, error) {
	s, err := r.local(property)
	if err != nil {
		return nil, "", err
	}
	sockets, err := listen.Open(s.Network, s.Listen)
	if err != nil {
		err = fmt.Errorf("%w on %s: %w", forward.ErrForward, s.Listen, listen.ShortOpError(err))
	}
	if len(sockets) == 0 {
		return nil, "", err
	}
	if addr, ok := sockets[0].Addr().(*net.TCPAddr); ok {
		return sockets, fmt.Sprintf("Port %d", addr.Port), err
	}
	return sockets, "Unix socket " + s.Listen, err
}

// handle serves one connection from a program.
func (f *pluginForward) handle(local net.Conn) {
	far, err := f.tunnel.Dial(f.sessions)
	if err != nil {
		tunnel.Abort(local)
		return
	}
	if !f.used.Swap(true) {
		f.say("\nConnection accepted for session [%s]\n", f.id)
	}
	stop := context.AfterFunc(f.programs, func() { tunnel.Abort(local) })
	defer stop()
	err = tunnel.Relay(local, far)
	if stream.Refused(err) && far.SessionErr() == nil {
		f.say(portRefused)
	}
}
