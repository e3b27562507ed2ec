//go:build soak

package ssmproto_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// way is one direction of the stream.
type way struct {
	name      string
	most      int         // bytes of a burst
	flood     atomic.Bool // nothing but bursts
	rng       *rand.Rand
	source    *rand.ChaCha8 // what is sent
	same      *rand.ChaCha8 // the same once more, to compare with
	in, out   hash.Hash     // the sender's, the receiver's
	sent, got atomic.Int64

	// The test's goroutine's: what had come when something came last.
	seen int64
	when time.Time
}

func newWay(name string, seed uint64, most int) *way {
	var key [32]byte
	copy(key[:], fmt.Sprint(name, seed))
	return &way{
		name: name, most: most,
		rng:    rand.New(rand.NewPCG(seed, uint64(len(name)))),
		source: rand.NewChaCha8(key), same: rand.NewChaCha8(key),
		in: sha256.New(), out: sha256.New(),
		when: time.Now(),
	}
}

// send writes bursts, single bytes and nothing, at random, until it is stopped.
func (w *way) send(to io.Writer, s *soak) error {
	buf := make([]byte, 64<<10)
	for {
		n, piece, pause := 0, 1+w.rng.IntN(len(buf)), time.Duration(0)
		switch kind := w.rng.IntN(10); {
		case kind < 4 || w.flood.Load():
			n = int(math.Exp(w.rng.Float64() * math.Log(float64(w.most)))) // as many small ones as large ones
		case kind < 8: // somebody types
			n, piece, pause = w.rng.IntN(50), 1, w.pause(20*time.Millisecond)
		default:
			pause = w.pause(time.Second)
		}
		for {
			select {
			case <-s.stop:
				return nil
			case <-time.After(pause):
			}
			s.sending.pass()
			if n == 0 {
				break
			}
			p := buf[:min(n, piece)]
			n -= len(p)
			w.source.Read(p)
			w.in.Write(p)
			w.sent.Add(int64(len(p)))
			if _, err := to.Write(p); err != nil {
				return fmt.Errorf("%s: after %d bytes: %w", w.name, w.sent.Load(), err)
			}
		}
	}
}

func (w *way) pause(most time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(most)))
}

// receive reads to the end, which is an error before finish has closed all.
func (w *way) receive(from io.Reader, g *gate) error {
	buf, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		if g != nil {
			g.pass()
		}
		n, err := from.Read(buf)
		w.out.Write(buf[:n])
		// The hashes say whether all is well; this says where it is not.
		if w.same.Read(want[:n]); !bytes.Equal(buf[:n], want[:n]) {
			return fmt.Errorf("%s: wrong bytes within %d after %d", w.name, n, w.got.Load())
		}
		w.got.Add(int64(n))
		if err != nil {
			return fmt.Errorf("%s: after %d bytes: %w", w.name, w.got.Load(), err)
		}
	}
}

func (w *way) quiet() bool { return w.got.Load() == w.sent.Load() }

// still is for how long nothing has come although there is something.
func (w *way) still() time.Duration {
	if got := w.got.Load(); got != w.seen || got == w.sent.Load() {
		w.seen, w.when = got, time.Now()
	}
	return time.Since(w.when)
}

// gate holds up those who pass while it is shut.
type gate struct {
	mu     sync.Mutex
	open   sync.Cond
	closed bool
	held   int
}

func (g *gate) init() { g.open.L = &g.mu }

func (g *gate) shut(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	g.open.Broadcast()
}

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held++
	for g.closed {
		g.open.Wait()
	}
	g.held--
}

// waiting is how many are held up.
func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// tail keeps the last lines of a log.
type tail struct {
	mu    sync.Mutex
	lines [100]string
	n     int
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[l.n%len(l.lines)] = string(p)
	l.n++
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for i := range l.lines {
		b.WriteString(l.lines[(l.n+i)%len(l.lines)])
	}
	return b.String()
}
