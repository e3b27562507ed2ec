package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// The transferred stream is the same everywhere: random bytes that repeat with
// a prime period, so that receivers can verify by comparison, which is much
// cheaper than a hash, that no byte is lost, duplicated, changed or reordered.
const (
	period = 1<<20 - 3
	chunk  = 64 << 10
)

var pattern = func() []byte {
	p := make([]byte, period+chunk)
	rand.NewChaCha8([32]byte{}).Read(p[:period])
	copy(p[period:], p)
	return p
}()

// streamAt returns n bytes of the stream, at most chunk, from pos on.
func streamAt(pos int64, n int) []byte {
	start := pos % period
	return pattern[start : start+int64(n)]
}

// send writes the stream's first n bytes.
func send(w io.Writer, n int64) error {
	for pos := int64(0); pos < n; {
		k, err := w.Write(streamAt(pos, int(min(chunk, n-pos))))
		if err != nil {
			return err
		}
		pos += int64(k)
	}
	return nil
}

// receive reads and checks the stream's bytes from pos to n.
func receive(r io.Reader, pos, n int64) error {
	buf := make([]byte, chunk)
	for pos < n {
		k, err := r.Read(buf[:min(chunk, n-pos)])
		if err := check(buf[:k], pos); err != nil {
			return err
		}
		pos += int64(k)
		if err != nil && pos < n {
			return fmt.Errorf("after %d of %d bytes: %w", pos, n, err)
		}
	}
	return nil
}

func check(p []byte, pos int64) error {
	if !bytes.Equal(p, streamAt(pos, len(p))) {
		return fmt.Errorf("WRONG BYTES within %d after position %d", len(p), pos)
	}
	return nil
}

// farEnd listens on the port that the agent dials.
type farEnd struct {
	*net.TCPListener
	addr string
}

func newFarEnd() (*farEnd, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &farEnd{l.(*net.TCPListener), l.Addr().String()}, nil
}

// next returns the next connection.
func (f *farEnd) next(ctx context.Context) (net.Conn, error) {
	f.SetDeadline(time.Now().Add(30 * time.Second))
	defer context.AfterFunc(ctx, func() { f.SetDeadline(time.Unix(1, 0)) })()
	return f.Accept()
}

// sink receives the stream and records when its bytes arrived.
type sink struct {
	mu     sync.Mutex
	grown  sync.Cond
	n      int64
	err    error
	trace  []mark
	probes []probe // those sent, ordered by position
	delays []time.Duration
}

// mark records that n bytes had arrived at a time.
type mark struct {
	at time.Time
	n  int64
}

// probe is a byte of the stream whose delay is measured.
type probe struct {
	pos  int64
	sent time.Time
}

func newSink() *sink {
	s := &sink{}
	s.grown.L = &s.mu
	return s
}

// drink reads r to its end.
func (s *sink) drink(r io.Reader) {
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		now := time.Now()
		s.mu.Lock()
		if n > 0 {
			if wrong := check(buf[:n], s.n); wrong != nil && s.err == nil {
				s.err = wrong
			}
			s.n += int64(n)
			for len(s.probes) > 0 && s.probes[0].pos < s.n {
				s.delays = append(s.delays, now.Sub(s.probes[0].sent))
				s.probes = s.probes[1:]
			}
			s.trace = append(s.trace, mark{now, s.n})
			if k := len(s.trace); k > 2 && now.Sub(s.trace[k-3].at) < 2*time.Millisecond {
				s.trace[k-2] = s.trace[k-1] // one mark per millisecond is enough
				s.trace = s.trace[:k-1]
			}
		}
		if err != nil && s.err == nil {
			s.err = err
		}
		s.grown.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *sink) expect(p probe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probes = append(s.probes, p)
}

func (s *sink) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// waitFor waits until more than n bytes have arrived.
func (s *sink) waitFor(ctx context.Context, n int64, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.grown.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.n <= n && s.err == nil && ctx.Err() == nil {
		s.grown.Wait()
	}
	switch {
	case s.err != nil:
		return fmt.Errorf("far end, after %d bytes: %w", s.n, s.err)
	case s.n <= n:
		return fmt.Errorf("nothing after byte %d within %v", s.n, limit)
	}
	return nil
}
