package link

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestGone: an address of ours is never taken for gone.
func TestGone(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip := a.(*net.IPNet).IP; gone(&net.TCPAddr{IP: ip}) {
			t.Errorf("%v is gone", ip)
		}
	}
	for _, a := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(127, 3, 2, 1)}, // on no list, but ours
		&net.TCPAddr{IP: net.IPv6loopback},
		&net.UnixAddr{},
		nil,
	} {
		if gone(a) {
			t.Errorf("%v is gone", a)
		}
	}
	for _, ip := range []net.IP{net.IPv4(203, 0, 113, 77), net.ParseIP("2001:db8::77")} {
		if !gone(&net.TCPAddr{IP: ip}) {
			t.Errorf("%v is here", ip)
		}
	}
}

func TestManyEventsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan struct{}, 1)
		var calls []time.Duration
		begun := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			gather(ctx, events, func() { calls = append(calls, time.Since(begun)) })
		})
		stream := func(n int) {
			for range n {
				select {
				case events <- struct{}{}:
				default:
				}
				time.Sleep(10 * time.Millisecond)
			}
			synctest.Wait()
		}
		stream(5) // a burst
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(calls) != 1 || calls[0] > 200*time.Millisecond {
			t.Errorf("a burst made calls at %v", calls)
		}
		calls, begun = nil, time.Now()
		stream(1000) // ten seconds
		if n := len(calls); n < 9 || n > 11 || calls[0] > 200*time.Millisecond {
			t.Errorf("a stream of 10 s made calls at %v", calls)
		}
		cancel()
		wg.Wait()
	})
}
