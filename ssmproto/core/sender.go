package core

import (
	"math/rand/v2"
	"time"
)

// MaxPayload is the maximum number of stream bytes in one message. It is what
// the reference client sends, so the service is sure to accept it. The agent
// accepts more, and 1,536 bytes are known to work; but on the path emulator
// (testdata/bench) they fill a path only 3 to 4 % better, by saving headers,
// and at 500 kbit/s a keystroke during a bulk transfer waits for 171 ms instead
// of 124, because it waits for whole messages. The gain is not worth deviating
// from the client that the service has been tested with.
const MaxPayload = 1024

const (
	// reorderSlack is how many later transmissions must be acknowledged before
	// an earlier one counts as lost: RFC 9002 section 6.1.1.
	reorderSlack = 3

	// Bounds of the data that Write may leave unsent: as much as is sent in
	// backlogTime. With that the writer of frames never waits for the writer of
	// the stream, and new data does not wait long. The upper bound is a full
	// batch.
	backlogTime = 4 * time.Millisecond
	minBacklog  = 2 * MaxPayload

	// MaxBacklog is the most that Room returns, in bytes.
	MaxBacklog = 64 << 10

	// maxMessages bounds the number of messages kept until they are
	// acknowledged. The window bounds their bytes, but even the smallest takes
	// a whole buffer.
	maxMessages = maxWindow / (HeadLen + MaxPayload)

	// paceTime is how much sending time may go out as one burst: timers much
	// finer than this cost more than they gain.
	paceTime = time.Millisecond
)

// sender is the outgoing half of a stream: sequence numbers, messages in
// flight, round-trip time, loss and retransmission. It has no clock, no lock
// and no I/O: the caller passes the time (since any fixed moment) and writes
// the frames that poll returns.
//
// Messages are in a ring, indexed by sequence number, whose buffers are reused,
// so that a steady stream allocates nothing.
type sender struct {
	typ    MessageType
	epoch  uint64 // wall clock at time 0, in ms, for the created date
	ids    *rand.ChaCha8
	cipher *Cipher // if set, encrypts Output

	ring []packet
	una  int64 // oldest unacknowledged sequence number
	next int64 // first one not sent yet
	end  int64 // one past the last one queued

	backlog  int   // payload bytes queued and not sent yet
	inFlight int   // frame bytes sent and neither acknowledged nor lost
	lost     int   // messages waiting to be sent again
	resend   int64 // no lost message has a lower sequence number

	order    int64 // number of transmissions so far
	topAcked int64 // highest order known to have arrived
	timerAt  time.Duration
	backoff  uint
	paceAt   time.Duration // when the next message may go out; it may lag behind by paceTime
	paced    bool          // the last poll held something back only because of paceAt

	held      bool // the agent is away (pause_publication)
	dataAcked bool // stream data was acknowledged: the agent has dialled its port

	rtt    rtt
	window window
}

type packetState uint8

const (
	queued packetState = iota
	inFlight
	lost
	acknowledged
)

type packet struct {
	frame   []byte // head and payload
	payload PayloadType
	state   packetState
	again   bool          // sent more than once: no round-trip time from it
	first   int64         // order of the first transmission on this link
	last    int64         // order of the latest
	sentAt  time.Duration // time of the latest
}

func newSender(typ MessageType, epoch time.Time, seed [32]byte) *sender {
	return &sender{
		typ:    typ,
		epoch:  uint64(epoch.UnixMilli()),
		ids:    rand.NewChaCha8(seed),
		ring:   make([]packet, 16),
		window: newWindow(),
		// No transmission has order 0, so nothing is lost before the first acknowledgement.
		topAcked: -1,
	}
}

func (s *sender) at(seq int64) *packet { return &s.ring[seq&int64(len(s.ring)-1)] }

// room returns how many stream bytes write would accept now.
func (s *sender) room() int {
	limit := MaxBacklog
	if rtt := s.rtt.recent(); rtt > 0 {
		perSecond := float64(s.window.size) / rtt.Seconds()
		limit = int(min(max(perSecond*backlogTime.Seconds(), minBacklog), MaxBacklog))
	}
	if s.end-s.una >= maxMessages {
		return 0
	}
	return max(limit-s.backlog, 0)
}

// write queues as many stream bytes as there is room for and returns their
// number. Bytes are added to the last message if that has not been sent yet, so
// small writes on a busy path share messages without ever waiting for each
// other.
func (s *sender) write(p []byte) int {
	p = p[:min(len(p), s.room())]
	n := len(p)
	for len(p) > 0 {
		var last *packet
		if s.end > s.next {
			last = s.at(s.end - 1)
		}
		if last == nil || last.payload != Output || len(last.frame) >= HeadLen+MaxPayload {
			last = s.push(Output)
		}
		k := min(len(p), HeadLen+MaxPayload-len(last.frame))
		last.frame = append(last.frame, p[:k]...)
		p = p[k:]
		s.backlog += k
	}
	return n
}

// control queues a message that is not stream data. The window does not hold it
// back, but it is sent in order, after what was queued before.
func (s *sender) control(t PayloadType, payload []byte) {
	p := s.push(t)
	p.frame = append(p.frame, payload...)
	s.backlog += len(payload)
}

// replace is like control, but the message replaces the last one in the queue
// if that has the same type and has not been sent.
func (s *sender) replace(t PayloadType, payload []byte) {
	if s.end > s.next {
		if p := s.at(s.end - 1); p.payload == t {
			s.backlog += HeadLen + len(payload) - len(p.frame)
			p.frame = append(p.frame[:HeadLen], payload...)
			return
		}
	}
	s.control(t, payload)
}

func (s *sender) push(t PayloadType) *packet {
	if s.end-s.una == int64(len(s.ring)) {
		s.grow()
	}
	p := s.at(s.end)
	s.end++
	frame := p.frame
	if frame == nil {
		frame = make([]byte, HeadLen, HeadLen+MaxPayload)
	}
	*p = packet{frame: frame[:HeadLen], payload: t}
	return p
}

func (s *sender) grow() {
	old := s.ring
	s.ring = make([]packet, 2*len(old))
	for seq := s.una; seq < s.end; seq++ {
		*s.at(seq) = old[seq&int64(len(old)-1)]
	}
}

// poll returns the next frame to write, or nil if there is none now. The frame
// is valid until the next call on s.
func (s *sender) poll(now time.Duration) []byte {
	s.paced = false
	if s.lost > 0 {
		for ; s.resend < s.next; s.resend++ {
			if p := s.at(s.resend); p.state == lost {
				if !s.allowed(p, now) {
					return nil
				}
				s.lost--
				s.resend++
				p.again = true
				return s.transmit(p, now)
			}
		}
	}
	if s.next == s.end {
		return nil
	}
	p := s.at(s.next)
	if !s.allowed(p, now) {
		return nil
	}
	s.backlog -= len(p.frame) - HeadLen
	s.seal(p, s.next, now)
	s.next++
	return s.transmit(p, now)
}

// allowed reports whether p may be sent now. If nothing is in flight it may, so
// that there is always an acknowledgement to wait for.
func (s *sender) allowed(p *packet, now time.Duration) bool {
	if p.payload != Output || s.inFlight == 0 {
		return true
	}
	if s.held {
		return false
	}
	if s.inFlight+len(p.frame) > s.window.size {
		s.window.limited = true
		return false
	}
	if now < s.paceAt {
		s.paced = true
		return false
	}
	return true
}

func (s *sender) transmit(p *packet, now time.Duration) []byte {
	s.order++
	if p.first == 0 {
		p.first = s.order
	}
	p.last = s.order
	p.state = inFlight
	p.sentAt = now
	s.inFlight += len(p.frame)
	if rtt := s.rtt.recent(); rtt > 0 {
		spacing := time.Duration(float64(len(p.frame)) / s.window.rate(rtt) * float64(time.Second))
		s.paceAt = max(s.paceAt, now-paceTime) + spacing
	}
	if s.timerAt == 0 {
		s.timerAt = now + s.timeout()
	}
	return p.frame
}

// seal completes a message; after that its bytes do not change, however often
// it is sent.
func (s *sender) seal(p *packet, seq int64, now time.Duration) {
	if s.cipher != nil && p.payload == Output {
		p.frame = s.cipher.seal(p.frame, HeadLen)
	}
	m := Message{
		Type:          s.typ,
		SchemaVersion: 1,
		Created:       s.epoch + uint64(now/time.Millisecond),
		Sequence:      seq,
		ID:            s.newID(),
		PayloadType:   p.payload,
	}
	m.putHead(p.frame)
}

// newID returns a random (version 4) UUID.
func (s *sender) newID() (id UUID) {
	s.ids.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// hold handles pause_publication: the agent is away. One message at a time is
// still sent as a probe, so a lost start_publication does no harm.
func (s *sender) hold() { s.held = true }

// release records that the agent is back.
func (s *sender) release() { s.held = false }

// idle reports whether everything queued has been acknowledged.
func (s *sender) idle() bool { return s.una == s.end }
