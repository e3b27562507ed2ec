package ssmtest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// Path describes one direction between a client and the service, or between the
// service and an agent. The zero value is a perfect path. A WebSocket runs over
// TCP, so delay and rate keep the order; Drop, Duplicate and Reorder are what
// the service does to messages.
type Path struct {
	// Delay is how long a message takes, and Jitter the maximum additional
	// time, which is uniformly distributed.
	Delay, Jitter time.Duration

	// Rate is the bottleneck's rate, in bytes per second of messages with their
	// headers; 0 means unlimited.
	Rate int

	// Queue is how many bytes may wait at the bottleneck before messages are
	// dropped. With 0 none are dropped, and the sender waits: on the path from
	// a client that is the client, whose TCP connection is not read; on the
	// path to an agent it is the service's relay, which holds 1 MiB and then
	// stops reading from the client.
	Queue int

	// The probabilities, 0 to 1, that a message is lost, arrives twice, or
	// arrives after one to four later ones (or after 20 ms, if those do not
	// arrive). They apply to messages of clients and agents, not to the
	// service's own.
	Drop, Duplicate, Reorder float64

	// Seed makes the random choices repeatable for the n-th data channel, or,
	// on the agent's side, the n-th session.
	Seed uint64
}

const (
	// maxHold is how long a message is held back to be reordered.
	maxHold = 20 * time.Millisecond

	// pipeLimit is how many bytes may be in flight before senders wait, and
	// rateBacklog how long the delay at a bottleneck without a queue may be
	// before they do.
	pipeLimit   = 16 << 20
	rateBacklog = 10 * time.Millisecond

	// relayLimit is how many bytes the service holds for the next stage if that
	// is too slow. The real service's limit is not known; this is what a router
	// with a long queue holds, a second at 8 Mbit/s.
	relayLimit = 1 << 20
)

// kind is the kind of a parcel, which determines what may happen to it.
type kind int

const (
	frame    kind = iota // from the client or the agent: may be lost or reordered
	ping                 // a WebSocket ping from the client
	service              // from the service itself: frames, pongs
	linked               // to the agent: the client has a socket
	unlinked             // to the agent: the client has no socket (pause_publication)
	farewell             // the last parcel: to the client, a close frame and the end
)

// parcel is what a pipe carries: towards the agent one message, towards the
// client WebSocket frames, only one if it has to queue. (On a perfect path
// towards the agent, batches of messages bypass the pipes.)
type parcel struct {
	kind  kind
	data  []byte
	limit int       // towards the client: see socket.write
	due   time.Time // time of arrival
}

// held is a parcel waiting to be overtaken.
type held struct {
	parcel
	after int // how many others must pass first
	until time.Time
}

// pipe is one direction between two of client, service and agent. While its
// Path is zero, it just calls deliver. Otherwise parcels queue, and a goroutine
// delivers them when they are due.
type pipe struct {
	srv     *Server
	deliver func(parcel)
	hold    int // bytes that may wait at a bottleneck without a queue; 0: rateBacklog
	done    chan struct{}
	wake    chan struct{} // capacity 1
	slow    atomic.Bool   // parcels queue

	mu      sync.Mutex
	room    sync.Cond // less is in flight, or the pipe is closed
	path    Path
	dice    *rand.Rand
	number  uint64 // the pipe's number, part of the seed
	queue   []parcel
	bytes   int // in queue
	held    []held
	free    time.Time // when the bottleneck will be idle
	last    time.Time // due time of the latest parcel
	busy    bool      // a batch is being delivered
	running bool
	closed  bool
}

func newPipe(srv *Server, deliver func(parcel), number uint64) *pipe {
	p := &pipe{
		srv:     srv,
		deliver: deliver,
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		number:  number,
	}
	p.room.L = &p.mu
	return p
}

func (p *pipe) setPath(path Path) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if path == p.path || p.closed {
		return
	}
	p.path = path
	p.dice = rand.New(rand.NewPCG(path.Seed, p.number))
	p.slow.Store(true) // run resets it if the path is perfect
	if !p.running {
		p.running = true
		p.srv.wg.Go(p.run)
	}
	p.signal()
}

func (p *pipe) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// push sends a parcel. Senders of messages wait if too much is in flight; the
// service's parcels never wait.
func (p *pipe) push(x parcel) {
	if !p.slow.Load() {
		p.deliver(x)
		return
	}
	x.data = slices.Clone(x.data)
	p.queueUp(x)
}

// pushFrames sends WebSocket frames, each of which may be lost or reordered by
// itself.
func (p *pipe) pushFrames(frames []byte, limit int) {
	if !p.slow.Load() {
		p.deliver(parcel{kind: frame, data: frames, limit: limit})
		return
	}
	for len(frames) > 0 {
		n := wire.FrameLen(frames)
		p.queueUp(parcel{kind: frame, data: slices.Clone(frames[:n]), limit: limit})
		frames = frames[n:]
	}
}

func (p *pipe) queueUp(x parcel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.kind == frame {
		p.waitForRoom()
	}
	p.slow.Store(true) // run may just have reset it, and nothing may overtake x
	defer p.signal()
	switch {
	case p.closed:
	case x.kind != frame:
		p.release(func(held) bool { return true })
		p.enqueue(x)
	case p.dice.Float64() < p.path.Drop:
	case p.dice.Float64() < p.path.Reorder:
		p.overtake()
		p.held = append(p.held, held{x, 1 + p.dice.IntN(4), time.Now().Add(maxHold)})
	default:
		p.enqueue(x)
		if p.dice.Float64() < p.path.Duplicate {
			p.enqueue(x)
		}
		p.overtake()
	}
}

// waitForRoom waits while too much is in flight. p.mu is held.
func (p *pipe) waitForRoom() {
	for !p.closed {
		backlog := time.Duration(0)
		if p.path.Rate > 0 && p.path.Queue == 0 {
			allowed := rateBacklog
			if p.hold > 0 {
				allowed = time.Duration(float64(p.hold) / float64(p.path.Rate) * 1e9)
			}
			backlog = time.Until(p.free.Add(-allowed))
		}
		switch {
		case p.bytes > pipeLimit, p.bytes > relayLimit && p.late():
			p.room.Wait()
		case backlog > 0:
			p.mu.Unlock()
			t := time.NewTimer(backlog)
			select {
			case <-t.C:
			case <-p.done:
			}
			t.Stop()
			p.mu.Lock()
		default:
			return
		}
	}
}

// late reports whether the next stage does not accept parcels that are due,
// because it is full. (Timers may be late by a millisecond.)
func (p *pipe) late() bool {
	return p.busy && len(p.queue) > 0 && time.Since(p.queue[0].due) > time.Millisecond
}

// overtake records that a message passes those held back.
func (p *pipe) overtake() {
	for i := range p.held {
		p.held[i].after--
	}
	p.release(func(h held) bool { return h.after <= 0 })
}

// release enqueues the held parcels for which f returns true.
func (p *pipe) release(f func(held) bool) {
	p.held = slices.DeleteFunc(p.held, func(h held) bool {
		if f(h) {
			p.enqueue(h.parcel)
			return true
		}
		return false
	})
}

// enqueue computes when x will arrive and queues it, unless the bottleneck
// drops it.
func (p *pipe) enqueue(x parcel) {
	now := time.Now()
	x.due = now
	if p.path.Rate > 0 {
		if p.free.Before(now) {
			p.free = now
		}
		waiting := int(p.free.Sub(now).Seconds() * float64(p.path.Rate))
		if x.kind == frame && p.path.Queue > 0 && waiting+len(x.data) > p.path.Queue {
			return
		}
		p.free = p.free.Add(time.Duration(float64(len(x.data)) / float64(p.path.Rate) * 1e9))
		x.due = p.free
	}
	x.due = x.due.Add(p.path.Delay)
	if p.path.Jitter > 0 {
		x.due = x.due.Add(time.Duration(p.dice.Int64N(int64(p.path.Jitter))))
	}
	if x.due.Before(p.last) {
		x.due = p.last
	}
	p.last = x.due
	p.queue = append(p.queue, x)
	p.bytes += len(x.data)
}

// run delivers parcels when they are due until the pipe is closed.
func (p *pipe) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		batch, wait, ok := p.take()
		if !ok {
			return
		}
		for _, x := range batch {
			p.deliver(x)
		}
		if len(batch) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.done:
			return
		}
	}
}

// take removes the parcels that are due from the queue, and returns how long
// until the next one is.
func (p *pipe) take() (batch []parcel, wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, 0, false
	}
	now := time.Now()
	p.release(func(h held) bool { return !now.Before(h.until) })
	n := 0
	for n < len(p.queue) && !p.queue[n].due.After(now) {
		p.bytes -= len(p.queue[n].data)
		n++
	}
	batch = slices.Clone(p.queue[:n])
	p.queue = slices.Delete(p.queue, 0, n)
	p.busy = n > 0
	if len(p.queue) == 0 && len(p.held) == 0 && !p.busy && p.path == (Path{Seed: p.path.Seed}) {
		p.slow.Store(false)
	}
	p.room.Broadcast()
	wait = time.Hour
	if len(p.queue) > 0 {
		wait = p.queue[0].due.Sub(now)
	}
	for _, h := range p.held {
		wait = min(wait, h.until.Sub(now))
	}
	return batch, wait, true
}

// drain waits until everything has been delivered.
func (p *pipe) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && (len(p.queue) > 0 || len(p.held) > 0 || p.busy) {
		p.room.Wait()
	}
}

// close drops what is in flight.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.done)
		p.room.Broadcast()
	}
}
