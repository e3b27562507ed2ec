package agent

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// Pace is how long the agent sleeps after a message.
const Pace = time.Millisecond

const (
	// pacedLimit, dataLimit and ackLimit are how many bytes may be queued for a
	// client before senders of data or of acknowledgements must wait. The last
	// is larger, so that acknowledgements do not wait for data. The first is
	// for agents at their own pace, and holds about a twentieth of a second:
	// queued data is lost with a link, and how much a real service queues is
	// not known.
	pacedLimit = 32 << 10
	dataLimit  = 256 << 10
	ackLimit   = 2 << 20

	firstTimeout  = 200 * time.Millisecond
	maxTimeout    = time.Second
	minVariation  = 10 * time.Millisecond
	noSleepChunk  = 64 << 10 // bytes read from the port at once without the pace
	maxFreeChunks = 64

	// unackedLimit is how many messages an agent without the pace sends after
	// one that is not acknowledged. The real agent has no such limit, but is
	// slow.
	unackedLimit = 32_768
)

// outbox is an agent's sending side: sequence numbers, unacknowledged messages,
// and when to retransmit them. Its methods may be called concurrently; it is
// locked for a batch of messages at a time, and not while it sends.
type outbox struct {
	a       *Agent
	scratch []core.Message // portLoop's

	mu       sync.Mutex
	started  sync.Cond // not paused
	paused   bool
	next     int64  // sequence number
	sent     []sent // by sequence number, the last is next-1
	head     int    // sent[:head] is no longer needed
	kept     int    // number of messages in sent that wait for an acknowledgement
	empty    chan struct{}
	free     []*chunk
	rtt, dev time.Duration // smoothed; 0: not measured
}

// sent is a message that was sent.
type sent struct {
	core.Message
	at     time.Time
	resent bool
	kept   bool // not acknowledged, and within the limit
	chunk  *chunk
}

// chunk is memory that several messages' payloads share.
type chunk struct {
	buf  []byte
	refs int // under outbox.mu
}

func (o *outbox) init(a *Agent) {
	o.a = a
	o.started.L = &o.mu
	o.paused = true
}

func (o *outbox) setPaused(paused bool) {
	o.mu.Lock()
	o.paused = paused
	o.started.Broadcast()
	o.mu.Unlock()
}

// dataLimit returns how many bytes may be queued for the client before the
// agent waits.
func (a *Agent) dataLimit() int {
	if a.job.Config.NoSleep {
		return dataLimit
	}
	return pacedLimit
}

// portLoop sends data from the port until that ends or the agent stops.
func (o *outbox) portLoop(port io.Reader) {
	size := o.a.job.Config.MessageSize
	chunkSize := size
	if o.a.job.Config.NoSleep {
		chunkSize = max(1, noSleepChunk/size) * size
	}
	sleep := time.NewTimer(0)
	defer sleep.Stop()
	var frames []byte
	for o.waitStarted() {
		c := o.newChunk(chunkSize)
		n, err := port.Read(c.buf)
		if !o.a.running() {
			return
		}
		data := c.buf[:n]
		if n < len(c.buf)/4 { // do not keep a large chunk for little data
			data = append([]byte(nil), data...)
			o.release(c)
			c = nil
		}
		// Data that was read is sent even if the agent is paused; its first
		// message is lost then.
		for first := true; len(data) > 0; first = false {
			if !first && !o.waitStarted() {
				return
			}
			frames, data = o.file(frames[:0], data, c)
			o.a.job.Service.ToClient(frames, o.a.dataLimit())
		}
		if c != nil {
			o.release(c)
		}
		if err != nil {
			return
		}
		if !o.a.job.Config.NoSleep {
			sleep.Reset(Pace)
			select {
			case <-sleep.C:
			case <-o.a.ctx.Done():
			}
		}
	}
}

// isPaused reports whether the agent is paused.
func (o *outbox) isPaused() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paused
}

// waitStarted waits while the agent is paused. It returns false if the agent
// has stopped.
func (o *outbox) waitStarted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.paused || o.a.job.Config.NoSleep && len(o.sent)-o.head >= unackedLimit) && o.a.ctx.Err() == nil {
		o.started.Wait()
	}
	return o.a.ctx.Err() == nil
}

// file makes messages from data, which is in c if that is not nil, and returns
// their frames and the rest of data: while the agent is paused it makes only
// one message.
func (o *outbox) file(frames, data []byte, c *chunk) (framesOut, rest []byte) {
	now := time.Now()
	o.scratch = o.scratch[:0]
	o.mu.Lock()
	for len(data) > 0 {
		n := min(o.a.job.Config.MessageSize, len(data))
		o.scratch = append(o.scratch, o.add(core.Output, data[:n:n], c, now))
		data = data[n:]
		if o.paused {
			break
		}
	}
	o.mu.Unlock()
	for i := range o.scratch { // without the lock: digests take time
		frames = wire.AppendFrame(frames, &o.scratch[i])
	}
	return frames, data
}

// add makes the next message and keeps it until it is acknowledged, unless too
// many are kept already. o.mu is held.
func (o *outbox) add(t core.PayloadType, payload []byte, c *chunk, now time.Time) core.Message {
	m := core.Message{
		Type:          core.OutputStreamData,
		SchemaVersion: 1,
		Created:       uint64(now.UnixMilli()),
		Sequence:      o.next,
		ID:            wire.NewID(),
		PayloadType:   t,
		Payload:       payload,
	}
	if o.next == 0 {
		m.Flags = core.SYN
	}
	o.next++
	entry := sent{}
	if o.kept < o.a.job.Config.ReorderLimit {
		entry = sent{Message: m, at: now, kept: true, chunk: c}
		o.kept++
		if c != nil {
			c.refs++
		}
	}
	if o.head > 1024 && o.head > len(o.sent)/2 {
		n := copy(o.sent, o.sent[o.head:])
		clear(o.sent[n:])
		o.sent, o.head = o.sent[:n], 0
	}
	o.sent = append(o.sent, entry)
	return m
}

// sendJSON sends a message of the handshake.
func (o *outbox) sendJSON(t core.PayloadType, v any) {
	payload, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	o.send(t, payload)
}

// send sends a message that is not data from the port.
func (o *outbox) send(t core.PayloadType, payload []byte) {
	o.sendWithin(t, payload, ackLimit)
}

// sendWithin is like send, but waits while more than limit bytes are queued for
// the client.
func (o *outbox) sendWithin(t core.PayloadType, payload []byte, limit int) {
	o.mu.Lock()
	m := o.add(t, payload, nil, time.Now())
	o.mu.Unlock()
	o.a.job.Service.ToClient(wire.AppendFrame(nil, &m), limit)
}

// acknowledged handles an acknowledgement.
func (o *outbox) acknowledged(n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := int64(len(o.sent)) - (o.next - n)
	if i < int64(o.head) || i >= int64(len(o.sent)) || !o.sent[i].kept {
		return
	}
	m := &o.sent[i]
	if !m.resent {
		o.measure(time.Since(m.at))
	}
	if m.chunk != nil {
		o.unref(m.chunk)
	}
	*m = sent{}
	o.kept--
	if len(o.sent)-o.head >= unackedLimit {
		o.started.Broadcast() // the number may drop below the limit
	}
	o.skip()
	if o.kept == 0 && o.empty != nil {
		close(o.empty)
		o.empty = nil
	}
}

// skip moves head to the oldest message that is kept.
func (o *outbox) skip() {
	for o.head < len(o.sent) && !o.sent[o.head].kept {
		o.head++
	}
	if o.head == len(o.sent) {
		o.sent, o.head = o.sent[:0], 0
	}
}

// measure adds a round-trip time to the estimate of RFC 6298.
func (o *outbox) measure(rtt time.Duration) {
	if o.rtt == 0 {
		o.rtt, o.dev = rtt, rtt/2
		return
	}
	o.dev += ((o.rtt - rtt).Abs() - o.dev) / 4
	o.rtt += (rtt - o.rtt) / 8
}

// timeout returns how old the oldest message may be before it is retransmitted.
func (o *outbox) timeout() time.Duration {
	if o.rtt == 0 {
		return firstTimeout
	}
	return min(maxTimeout, o.rtt+max(minVariation, 4*o.dev))
}

// resendLoop retransmits the oldest unacknowledged message when it is due: only
// that one, however many are lost.
func (o *outbox) resendLoop() {
	tick := time.NewTicker(o.a.job.Config.ResendEvery)
	defer tick.Stop()
	var frames []byte
	for {
		select {
		case <-tick.C:
		case <-o.a.ctx.Done():
			return
		}
		if !o.a.running() {
			return
		}
		frames = frames[:0]
		now := time.Now()
		o.mu.Lock()
		o.skip()
		if !o.paused && o.head < len(o.sent) {
			if m := &o.sent[o.head]; now.Sub(m.at) > o.timeout() {
				m.at, m.resent = now, true
				frames = wire.AppendFrame(frames, &m.Message)
			}
		}
		o.mu.Unlock()
		if len(frames) > 0 {
			o.a.job.Service.ToClient(frames, o.a.dataLimit())
		}
	}
}

// flushed waits, up to a limit, until everything is acknowledged. It returns
// false if the agent is stopped first.
func (o *outbox) flushed(limit time.Duration) bool {
	o.mu.Lock()
	empty := make(chan struct{})
	if o.kept == 0 {
		close(empty)
	} else {
		o.empty = empty
	}
	o.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-empty:
		return true
	case <-timer.C:
		return true
	case <-o.a.ctx.Done():
		return false
	}
}

// newChunk returns a chunk with a reference for the caller.
func (o *outbox) newChunk(size int) *chunk {
	o.mu.Lock()
	defer o.mu.Unlock()
	var c *chunk
	if n := len(o.free); n > 0 {
		c, o.free = o.free[n-1], o.free[:n-1]
	} else {
		c = &chunk{buf: make([]byte, size)}
	}
	c.refs = 1
	return c
}

func (o *outbox) release(c *chunk) {
	o.mu.Lock()
	o.unref(c)
	o.mu.Unlock()
}

func (o *outbox) unref(c *chunk) {
	if c.refs--; c.refs == 0 && len(o.free) < maxFreeChunks {
		o.free = append(o.free, c)
	}
}
