package link

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// errMoved means that a link was given up because this machine no longer has
// its local address.
var errMoved = errors.New("the network has changed")

// doubtTime is how long, at least, a link in doubt may stay silent: TCP
// retransmits after 0.2, 0.6 and 1.4 s, and the round trip.
const doubtTime = 2 * time.Second

// Roamed tells the link that the network has changed or the machine was asleep.
// The link ends if this machine no longer has its local address. Otherwise it
// must prove itself within patience, or a few seconds if that is longer. It may
// be called concurrently.
func (l *Link) Roamed(patience time.Duration) {
	if gone(l.LocalAddr()) {
		l.giveUp(errMoved) // nothing can reach that address any more
		return
	}
	l.watch.doubtful(max(doubtTime, patience), rerouted(l.net))
}

// rerouted reports whether a new connection to the far end of conn would use
// another local address. Packets of conn itself may still arrive.
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

// gone reports whether this machine no longer has the address addr.
func gone(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() { // all of 127.0.0.0/8 is local, listed or not
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

// slept reports whether the machine was asleep while its clocks advanced by
// these times: on most systems the monotonic clock stops during sleep. Where it
// does not, a link has been silent for too long after a sleep.
func slept(monotonic, wall time.Duration) bool { return wall-monotonic > time.Second }

// WatchNetwork calls changed when the network has changed or the machine was
// asleep, until ctx ends. Linux reports both, macOS changes of the network,
// other systems neither. (watch.check also detects sleep.) It costs nothing
// while nothing happens.
func WatchNetwork(ctx context.Context, changed func()) {
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

// A change of the network causes many events: for the link, the address, then
// routes. Events within gatherTime of the first count as one change, and there
// is at most one change per restTime, even on a machine that starts containers
// all day.
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
