package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// slowPath is a TCP proxy that makes loopback a longer path. It delays all
// bytes in both directions, and it delays connecting, as TCP's handshake would:
// the client is connected at once, so its first bytes leave one round trip
// later, and the far side learns of the connection then.
//
// With a rate, up to queue bytes wait at the bottleneck; when that is full it
// pushes back. It drops nothing.
type slowPath struct {
	net.Listener
	ctx    context.Context
	cancel context.CancelFunc
	target string
	delay  time.Duration // one way
	rate   int           // bytes per second in each direction; 0: unlimited
	queue  int           // bytes
	wg     sync.WaitGroup
}

func (b *bench) newSlowPath(target string, delay time.Duration, rate, queue int) (*slowPath, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &slowPath{Listener: l, target: target, delay: delay, rate: rate, queue: queue}
	s.ctx, s.cancel = context.WithCancel(b.ctx)
	context.AfterFunc(s.ctx, func() { l.Close() })
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(c) })
		}
	})
	return s, nil
}

// close ends all connections and returns when nothing is left.
func (s *slowPath) close() {
	s.cancel()
	s.wg.Wait()
}

func (s *slowPath) addr() string { return s.Addr().String() }

func (s *slowPath) serve(near net.Conn) {
	defer near.Close()
	if s.rate > 0 {
		// The system's buffers are not part of the queue.
		near.(*net.TCPConn).SetReadBuffer(16 << 10)
		near.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	connected := time.Now().Add(2 * s.delay) // as far as the client's bytes are concerned
	up := make(chan parcel, waiting)
	s.wg.Go(func() { s.read(near, up, connected) })
	defer func() {
		near.Close()
		for range up { // let read end
		}
	}()
	if !s.sleepUntil(connected.Add(s.delay)) {
		return
	}
	far, err := net.Dial("tcp", s.target)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(s.ctx, func() { near.Close(); far.Close() })()
	down := make(chan parcel, waiting)
	s.wg.Go(func() { s.read(far, down, time.Time{}) })
	var ways sync.WaitGroup
	ways.Go(func() { s.write(far, near, up) })
	ways.Go(func() { s.write(near, far, down) })
	ways.Wait()
}

// waiting is how many parcels may wait in one direction: with a rate, when they
// have the size of a packet, about 350 KB.
const waiting = 256

// parcel is bytes in flight, or the end if it has none.
type parcel struct {
	data  []byte
	due   time.Time
	reset bool // the end is an error
}

// read sends what it reads from c, but not before a given time.
func (s *slowPath) read(c net.Conn, way chan<- parcel, earliest time.Time) {
	defer close(way)
	var free time.Time // when the bottleneck will be idle
	size := chunk
	if s.rate > 0 {
		size = 1448
	}
	for {
		buf := make([]byte, size)
		n, err := c.Read(buf)
		due := time.Now()
		if due.Before(earliest) {
			due = earliest
		}
		if s.rate > 0 && n > 0 {
			if free.Before(due) {
				free = due
			}
			free = free.Add(time.Duration(float64(n) / float64(s.rate) * 1e9))
			due = free
		}
		due = due.Add(s.delay)
		if n > 0 {
			way <- parcel{data: buf[:n], due: due}
		}
		if err != nil {
			way <- parcel{due: due, reset: !errors.Is(err, io.EOF)}
			return
		}
		if s.rate > 0 {
			full := time.Duration(float64(s.queue) / float64(s.rate) * 1e9)
			s.sleepUntil(free.Add(-full))
		}
	}
}

// write delivers parcels when they are due. It passes an end on to the other
// side as it was, a close or a reset.
func (s *slowPath) write(to, from net.Conn, way <-chan parcel) {
	defer func() {
		for range way { // do not block read
		}
	}()
	for p := range way {
		if !s.sleepUntil(p.due) {
			return
		}
		switch {
		case p.reset:
			to.(*net.TCPConn).SetLinger(0)
			to.Close()
			from.Close()
			return
		case p.data == nil:
			to.(*net.TCPConn).CloseWrite()
			return
		}
		if _, err := to.Write(p.data); err != nil {
			from.Close()
			return
		}
	}
}

func (s *slowPath) sleepUntil(t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}
