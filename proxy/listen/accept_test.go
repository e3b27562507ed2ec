package listen

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fullSocket has connections that cannot be taken in while full is set.
type fullSocket struct {
	net.Listener
	full  atomic.Bool
	tries atomic.Int64
	conns chan net.Conn
}

func (s *fullSocket) Accept() (net.Conn, error) {
	if s.full.Load() {
		s.tries.Add(1)
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	if c, ok := <-s.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// TestAcceptTellsOnce: that connections cannot be taken in is told once for all
// sockets, so is that they can again, and it is not tried all the time.
func TestAcceptTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := make(chan string, 100)
		a := Acceptor{Tell: func(text string) { said <- text }}
		sockets := make([]*fullSocket, 5)
		var taken atomic.Int64
		for i := range sockets {
			s := &fullSocket{conns: make(chan net.Conn)}
			s.full.Store(true)
			sockets[i] = s
			go a.Loop(context.Background(), s, func(net.Conn) { taken.Add(1) })
		}
		for range 2 { // outages
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(said) != 1 {
				t.Fatalf("%d lines in a minute", len(said))
			}
			if line := <-said; !strings.Contains(line, "too many open files") {
				t.Errorf("%q", line)
			}
			for _, s := range sockets {
				if n := s.tries.Swap(0); n < 30 || n > 100 {
					t.Errorf("%d tries in a minute", n)
				}
				s.full.Store(false)
				s.conns <- nil
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(said) != 1 || taken.Swap(0) != 5 {
				t.Fatalf("%d lines after the outage", len(said))
			}
			<-said
			for _, s := range sockets {
				s.full.Store(true)
				s.conns <- nil // it waits for one still
			}
			synctest.Wait()
			taken.Store(0)
		}
		a.Stop()
		time.Sleep(time.Minute)
		for _, s := range sockets {
			s.full.Store(false)
			close(s.conns)
		}
		time.Sleep(time.Minute)
		if len(said) > 1 {
			t.Errorf("%d lines after the end", len(said))
		}
	})
}

// TestListenTellsOfTheOtherFamily: of localhost's two sockets the one that
// somebody else has is an error, and the other one is there.
func TestListenTellsOfTheOtherFamily(t *testing.T) {
	var taken net.Listener
	for { // until the port is free for IPv4
		var err error
		if taken, err = net.Listen("tcp", "[::1]:0"); err != nil {
			t.Skip("no IPv6 here: ", err)
		}
		_, port, _ := net.SplitHostPort(taken.Addr().String())
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			l.Close()
			break
		}
		taken.Close()
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	sockets, err := Open("tcp", "localhost:"+port)
	if err == nil || !strings.Contains(err.Error(), "[::1]:"+port) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
	for _, l := range sockets {
		if l.Addr().String() != "127.0.0.1:"+port {
			t.Errorf("a socket at %s", l.Addr())
		}
		l.Close()
	}
	if len(sockets) != 1 {
		t.Errorf("%d sockets", len(sockets))
	}
	// A port that may be chosen is one that is free for both.
	for range 20 {
		sockets, err := Open("tcp", "localhost:0")
		if err != nil || len(sockets) != 2 {
			t.Errorf("%d sockets, %v", len(sockets), err)
		}
		for _, l := range sockets {
			l.Close()
		}
	}
}
