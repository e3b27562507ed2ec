package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/listen"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/proxy/tunnel"
)

// Options say what to forward. Options.Host and Port are ignored.
type Options struct {
	machine.Options
	Specs    []Spec
	Sessions int  // for each destination, 1 to 16; 0 means 1
	Once     bool // end when a session has ended, instead of starting another

	// ExitOnFailure makes Run fail if it cannot listen on one of the Specs.
	// Otherwise Run uses those on which it can.
	ExitOnFailure bool

	Ready func(Listening) // called for each Spec once it is usable; may be nil

	hurry hurry
}

// Listening is a Spec that is ready.
type Listening struct {
	Spec Spec
	Addr net.Addr // the actual address, with the port that was chosen
}

// hurry replaces constants in tests, so that a session's life does not take
// minutes.
type hurry struct {
	held     time.Duration // tunnel.Tunnel.Held
	idle     time.Duration // of sessions without a connection
	sessions int64         // maxDemand
	buffer   int           // machine.Client.Buffer
}

// maxDemand is the maximum number of concurrent sessions for the destinations of
// SOCKS clients. Unused sessions are ended to make room.
const maxDemand = 64

// ErrForward is wrapped by errors about addresses that cannot be listened on.
var ErrForward = errors.New("cannot listen")

// Run listens on o.Specs and forwards connections through sessions to o.Target
// until ctx ends or, with Once, a session does. Errors are written for the user.
// Run leaves nothing behind, and takes less than 2 s to clean up.
func Run(ctx context.Context, o Options) error {
	o.Fill()
	o.Use = machine.UseForward
	if o.Ready == nil {
		o.Ready = func(Listening) {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &forwarder{o: &o, ctx: ctx, cancel: cancel, tunnels: make(map[machine.Destination]*tunnel.Tunnel), conns: make(map[net.Conn]bool)}
	f.accepting.Tell = o.Tell
	defer f.close()
	return o.Explain(f.run())
}

// forwarder is the state of one Run.
type forwarder struct {
	o      *Options
	client *machine.Client
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	accepting listen.Acceptor
	repeats   repeats

	tunnels map[machine.Destination]*tunnel.Tunnel // the permanent ones; made by run
	demand  tunnel.OnDemand[machine.Destination]

	mu        sync.Mutex
	conns     map[net.Conn]bool
	listeners []net.Listener
}

func (f *forwarder) run() error {
	limited, limit, stop := f.o.ConnectLimit(f.ctx)
	defer stop()
	listeners, err := f.listen()
	if err != nil {
		return err
	}
	f.client, err = f.o.NewClient(f.ctx, limited, limit)
	defer f.client.Release()
	if err != nil {
		return err
	}
	f.client.Buffer = f.o.hurry.buffer
	f.demand.Most = cmp.Or(f.o.hurry.sessions, maxDemand)
	f.demand.Run(f.ctx, func(d machine.Destination) *tunnel.Tunnel { return f.tunnel(d, true) })
	// Connect to all destinations at once. All must be reachable.
	for _, l := range listeners {
		d := machine.Destination{Host: l.spec.Host, Port: l.spec.Port}
		if !l.spec.Dynamic && f.tunnels[d] == nil {
			f.tunnels[d] = f.tunnel(d, false)
			f.tunnels[d].Run(f.ctx, max(f.o.Sessions, 1))
		}
	}
	for d, t := range f.tunnels {
		if err := t.Ready(limited); err != nil {
			return &machine.DestinationError{To: d, Err: err}
		}
	}
	for _, l := range listeners {
		for _, socket := range l.sockets {
			f.wg.Go(func() {
				f.accepting.Loop(f.ctx, socket, func(local net.Conn) {
					f.wg.Go(func() { f.handle(local, l.spec) })
				})
			})
		}
		f.o.Ready(Listening{l.spec, l.sockets[0].Addr()})
	}
	<-f.ctx.Done()
	return context.Cause(f.ctx)
}

// listener holds the sockets of one Spec.
type listener struct {
	spec    Spec
	sockets []net.Listener // at least one
}

// listen listens on all Specs, or on those on which it can.
func (f *forwarder) listen() (list []listener, err error) {
	for _, s := range f.o.Specs {
		sockets, failed := listen.Open(s.Network, s.Listen)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%w on %s: %w", ErrForward, s.Listen, listen.ShortOpError(failed)))
		}
		if len(sockets) == 0 {
			continue
		}
		f.listeners = append(f.listeners, sockets...)
		list = append(list, listener{s, sockets})
	}
	if err != nil && len(list) > 0 && !f.o.ExitOnFailure {
		f.o.Notice(safetext.Printable(err.Error()))
		err = nil
	}
	return list, err
}

// handle serves one connection from a program.
func (f *forwarder) handle(local net.Conn, s Spec) {
	if !f.track(local) {
		return
	}
	defer f.untrack(local)
	d := machine.Destination{Host: s.Host, Port: s.Port}
	if s.Dynamic {
		var err error
		if d, err = acceptSOCKS(local); err != nil {
			local.Close()
			f.o.Log.Info("SOCKS", "err", err)
			return
		}
	}
	far, err := f.dial(d, s)
	if s.Dynamic {
		reply := byte(socksOK)
		if err != nil {
			reply = socksFailure
		}
		// Whether the agent could connect is not known yet: it reports only failures.
		replySOCKS(local, reply)
	}
	switch {
	case err == nil:
		err = tunnel.Relay(local, far)
	case s.Dynamic:
		local.Close() // do not abort: the reply would be lost
	default:
		tunnel.Abort(local)
	}
	if err != nil && f.ctx.Err() == nil {
		f.lost(d, err)
	}
}

// dial opens a connection to d. It waits for a permanent session; starting one
// on demand may fail.
func (f *forwarder) dial(d machine.Destination, s Spec) (*tunnel.Conn, error) {
	ctx, _, stop := f.o.ConnectLimit(f.ctx)
	defer stop()
	if s.Dynamic {
		return f.demand.Dial(ctx, d)
	}
	return f.tunnels[d].Dial(ctx)
}

// tunnel prepares a tunnel to d.
func (f *forwarder) tunnel(d machine.Destination, onDemand bool) *tunnel.Tunnel {
	t := &tunnel.Tunnel{
		Open: func(ctx context.Context) (stream.Port, error) {
			limited, _, stop := f.o.ConnectLimit(ctx)
			defer stop()
			return f.client.Open(limited, d, false)
		},
		Log:     f.o.Log.Info,
		Changed: f.tellState(d, onDemand),
		Replaced: func() {
			f.o.Notice(fmt.Sprintf("%s: %s: %v; earlier connections are closed", f.o.Target, d, tunnel.ErrReplaced))
		},
		Held: f.o.hurry.held,
		Idle: f.o.hurry.idle,
	}
	if onDemand {
		t.Demand = max(f.o.Sessions, 1)
	}
	return t
}

// lost reports why a connection was lost, without repeating itself.
func (f *forwarder) lost(d machine.Destination, err error) {
	f.o.Log.Info("connection ended", "to", d.String(), "err", err)
	line := ""
	switch {
	case stream.Refused(err):
		line = safetext.Printable(fmt.Sprintf("%s: %s refused, or could not be reached from there", f.o.Target, d))
	case errors.Is(err, tunnel.ErrManySessions):
		line = fmt.Sprintf("%s: %d sessions are in use: connections to more destinations are refused until one is free", f.o.Target, f.demand.Most)
	case f.o.Answered(err), errors.Is(err, driver.ErrConnectTimeout):
		line = f.o.Explain(&machine.DestinationError{To: d, Err: err}).Error()
	}
	if line != "" && f.repeats.isNew(line) {
		f.o.Notice(line)
	}
}

// track registers an open connection, or closes it if the forwarder has ended.
func (f *forwarder) track(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		c.Close()
		return false
	}
	f.conns[c] = true
	return true
}

func (f *forwarder) untrack(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// tellState returns a function that reports a tunnel's changes: that it is down,
// why it stays down (once for each reason), and that it is up again.
func (f *forwarder) tellState(d machine.Destination, onDemand bool) func(tunnel.State, error) {
	next := "starting another"
	if onDemand {
		next = "the next connection starts another"
	}
	var mu sync.Mutex
	began, told := false, ""
	return func(s tunnel.State, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case s == tunnel.Up && told != "":
			f.o.Notice(fmt.Sprintf("%s: connected to %s again", f.o.Target, d))
			told = ""
		case s == tunnel.Up:
			began = true
		case !began: // run reports it
		case stream.Forbidden(err) && len(f.tunnels) == 1 && !slices.ContainsFunc(f.o.Specs, func(s Spec) bool { return s.Dynamic }):
			f.cancel(&machine.DestinationError{To: d, Err: err}) // nothing is left to do
		case stream.Forbidden(err):
			f.o.Notice(f.o.Explain(&machine.DestinationError{To: d, Err: err}).Error())
		case f.o.Once:
			f.cancel(&machine.EndedError{Text: fmt.Sprintf("the session to %s ended: %s", d, f.endCause(err)), Err: err})
		case s == tunnel.Down:
			told = "ended"
			f.o.Notice(safetext.Printable(fmt.Sprintf("%s: the session to %s ended (%s); %s", f.o.Target, d, f.endCause(err), next)))
		case told != f.o.Cause(err):
			told = f.o.Cause(err)
			f.o.Notice(safetext.Printable(f.o.Explain(&machine.DestinationError{To: d, Err: err}).Error() + "; trying again"))
		}
	}
}

// endCause says why a session ended, in a few words.
func (f *forwarder) endCause(err error) string {
	reason, told := stream.Reason(err)
	switch {
	case told:
		return reason
	case err == nil, errors.Is(err, io.EOF):
		return "by the far side"
	}
	return f.o.Cause(err)
}

// close ends everything, listeners first.
func (f *forwarder) close() {
	f.cancel(nil)
	for _, l := range f.listeners {
		l.Close()
	}
	f.accepting.Stop()
	f.mu.Lock()
	for c := range f.conns {
		tunnel.Abort(c)
	}
	f.mu.Unlock()
	f.closeTunnels() // which ends the connections through them
	f.wg.Wait()
	f.closeTunnels() // those opened in the meantime
}

func (f *forwarder) closeTunnels() {
	var all sync.WaitGroup
	for _, t := range f.tunnels {
		all.Go(t.Close)
	}
	all.Go(f.demand.Close)
	all.Wait()
}
