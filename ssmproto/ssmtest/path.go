package ssmtest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// Path is what one way is like, between a client and the service or between the
// service and an agent. The zero value is perfect. A WebSocket runs over TCP, so
// that delay and rate keep the order; Drop, Duplicate and Reorder are what the
// service does to messages.
type Path struct {
	// Delay is how long a message is under way, and Jitter up to how much
	// longer, uniformly distributed.
	Delay, Jitter time.Duration

	// Rate is the bottleneck's, in bytes per second of messages with their
	// heads; 0 is unlimited.
	Rate int

	// Queue is how many bytes wait at the bottleneck before messages are
	// dropped. With 0, none are: the sender has to wait. Before the way from a
	// client that is the client, whose TCP connection is not read; before the
	// way to an agent it is the service's relay, which holds 1 MiB and then
	// reads from the client no more.
	Queue int

	// The probabilities, 0 to 1, that a message is lost, comes twice, or comes
	// after one to four later ones (or 20 ms, if those do not come). They apply
	// to what clients and agents send, not to the service's own messages.
	Drop, Duplicate, Reorder float64

	// Seed makes the dice fall as they did before for the n-th data channel,
	// or, on the agent's side, the n-th session.
	Seed uint64
}

const (
	// maxHold is how long a message is held back to be reordered.
	maxHold = 20 * time.Millisecond

	// pipeLimit is how many bytes are under way at most before senders wait,
	// and rateBacklog how long the wait at a bottleneck without a queue is
	// before they do.
	pipeLimit   = 16 << 20
	rateBacklog = 10 * time.Millisecond

	// relayLimit is how many bytes the service holds for the next stage when
	// that is too slow. What the real one holds is not known; this is what a
	// router with a long queue does, a second of 8 Mbit/s.
	relayLimit = 1 << 20
)

// kind is what a parcel is, which decides what may happen to it.
type kind int

const (
	frame    kind = iota // of the client's or the agent's: dice apply
	ping                 // WebSocket's, from the client
	service              // of the service's own: frames, pongs
	linked               // to the agent: the client has a socket
	unlinked             // and now it has none: pause_publication
	farewell             // the end of the way: to the client, close frame and the end
)

// parcel is what goes through a pipe: up one message, down WebSocket frames, one
// if it has to queue. (Up a way that is perfect, batches of messages go past the
// pipes.)
type parcel struct {
	kind  kind
	data  []byte
	limit int       // down: see socket.write
	due   time.Time // of arrival
}

// held is a parcel waiting to be overtaken.
type held struct {
	parcel
	after int // so many others first
	until time.Time
}

// pipe is one way between two of client, service and agent. As long as its Path
// is zero, it is a call of deliver. Otherwise parcels queue, and a goroutine
// delivers them when they are due.
type pipe struct {
	srv     *Server
	deliver func(parcel)
	hold    int // bytes that wait at a bottleneck without a queue; 0: rateBacklog
	done    chan struct{}
	wake    chan struct{} // capacity 1
	slow    atomic.Bool   // parcels queue

	mu      sync.Mutex
	room    sync.Cond // less is under way, or the end
	path    Path
	dice    *rand.Rand
	number  uint64 // the pipe's, part of the dice's seed
	queue   []parcel
	bytes   int // in queue
	held    []held
	free    time.Time // when the bottleneck will have passed what it has
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
	p.slow.Store(true) // run finds out when it no longer is
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

// push sends a parcel on its way. Senders of messages wait when there is too
// much on it; the service's parcels never wait.
func (p *pipe) push(x parcel) {
	if !p.slow.Load() {
		p.deliver(x)
		return
	}
	x.data = slices.Clone(x.data)
	p.queueUp(x)
}

// pushFrames sends WebSocket frames on their way, each with a fate of its own.
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
	p.slow.Store(true) // run may just have found it fast, and nothing may overtake x
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

// waitForRoom waits, p.mu held, while too much is under way.
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

// late tells whether what has arrived is not taken: the next stage is full. (A
// millisecond is the timers' own.)
func (p *pipe) late() bool {
	return p.busy && len(p.queue) > 0 && time.Since(p.queue[0].due) > time.Millisecond
}

// overtake counts a message that passes those held back.
func (p *pipe) overtake() {
	for i := range p.held {
		p.held[i].after--
	}
	p.release(func(h held) bool { return h.after <= 0 })
}

// release lets those go on that f is true for.
func (p *pipe) release(f func(held) bool) {
	p.held = slices.DeleteFunc(p.held, func(h held) bool {
		if f(h) {
			p.enqueue(h.parcel)
			return true
		}
		return false
	})
}

// enqueue works out when x will arrive, unless the bottleneck drops it.
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

// run delivers what is due until the pipe is closed.
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

// take removes what is due from the queue, or returns how long nothing will be.
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

// close drops what is under way.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.done)
		p.room.Broadcast()
	}
}
