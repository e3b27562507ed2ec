package ssmproto

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// errMoved says that a link was given up because the address of this end is no
// longer this machine's.
var errMoved = errors.New("the network has changed")

// doubtTime is for how long at least a link in doubt may stay silent: TCP sends
// what was lost again after 0.2, 0.6 and 1.4 s and the round trip.
const doubtTime = 2 * time.Second

// roamed takes in that the network has changed or that the machine was asleep.
// What waits is done at once, and what goes on has to prove itself.
func (c *Conn) roamed() {
	c.log.Debug("the network has changed, or the machine was asleep")
	select {
	case c.again <- struct{}{}:
	default:
	}
	if a := c.attempt.Load(); a != nil {
		a.giveUp(a.patience)
	}
	c.mu.Lock()
	var l *link
	if c.linked {
		l = c.link
	}
	// On a slow path it takes longer: twice what an answer usually takes at most.
	patience := max(doubtTime, 2*c.s.out.rtt.timeout())
	c.mu.Unlock()
	switch {
	case l == nil:
	case gone(l.net.LocalAddr()):
		l.giveUp(errMoved) // nothing will ever come to that address again
	default:
		l.watch.doubtful(patience, rerouted(l.net))
	}
}

// rerouted says whether packets to the far end of conn would leave from another
// address if it were made now. Those of conn itself may still arrive.
func rerouted(conn net.Conn) bool {
	local, isTCP := conn.LocalAddr().(*net.TCPAddr)
	if !isTCP || local.IP.IsLoopback() {
		return false
	}
	now, err := net.Dial("udp", conn.RemoteAddr().String()) // sends nothing
	if err != nil {
		return false // there is no route at the moment
	}
	defer now.Close()
	return !now.LocalAddr().(*net.UDPAddr).IP.Equal(local.IP)
}

// roamedSince says whether roamed was called since it was asked last.
func (c *Conn) roamedSince() bool {
	select {
	case <-c.again:
		return true
	default:
		return false
	}
}

// gone says whether addr was this machine's and is so no longer.
func gone(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() { // all of 127.0.0.0/8 is ours, whatever is on the list
		return false
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(tcp.IP) {
			return false
		}
	}
	return true
}

// slept says whether the machine was asleep while its clocks went on like this:
// on most systems the monotonic one stands still meanwhile. Where it does not,
// a link has been silent for too long after a sleep.
func slept(monotonic, wall time.Duration) bool { return wall-monotonic > time.Second }

// watchNetwork calls changed when the network has changed or the machine was
// asleep, as far as the system tells, until ctx ends: on Linux both, on macOS
// changes of the network, on others nothing. (That the machine was asleep is
// also found by linkWatch.check.) It costs nothing while nothing happens.
func watchNetwork(ctx context.Context, changed func()) {
	var wg sync.WaitGroup
	events := make(chan struct{}, 1)
	for _, wait := range watchers(ctx) {
		wg.Go(func() {
			for wait() {
				select {
				case events <- struct{}{}:
				default:
				}
			}
		})
	}
	gather(ctx, events, changed)
	wg.Wait()
}

// A change of the network is many events: the link is up, an address is there,
// then routes. What comes within gatherTime of the first is one, and there is
// no more than one each restTime, however many come, as on a machine that
// starts containers all day.
const (
	gatherTime = 100 * time.Millisecond
	restTime   = time.Second
)

// gather calls changed for events until ctx ends.
func gather(ctx context.Context, events <-chan struct{}, changed func()) {
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	for {
		select {
		case <-events:
		case <-ctx.Done():
			return
		}
		pause(gatherTime)
		select {
		case <-events:
		default:
		}
		if ctx.Err() != nil {
			return
		}
		changed()
		pause(restTime - gatherTime)
	}
}
