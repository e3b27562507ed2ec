package ssmproto

import (
	"slices"
	"time"
)

// stream is one end of the data channel without I/O: frames and a time go in,
// frames to write come out. Its user provides the lock, the clock and the link.
type stream struct {
	out *sender
	in  *receiver

	peer MessageType // type of incoming stream data
	acks ackQueue
	buf  []byte // the acknowledgement that poll returned last

	proofs int64 // frames received that prove that the agent is at the other end

	// closed is called when the service ends the channel, with its message's
	// payload. It may be called more than once.
	closed func(payload []byte)
}

func newStream(ours, peer MessageType, epoch time.Time, seed [32]byte) *stream {
	return &stream{
		out:    newSender(ours, epoch, seed),
		in:     newReceiver(func(PayloadType, []byte) {}),
		peer:   peer,
		closed: func([]byte) {},
	}
}

// receive processes one frame from the link. An error means that the frame was
// ignored: if it matters, it will be retransmitted.
func (s *stream) receive(frame []byte, now time.Duration) error {
	m, err := Parse(frame)
	if err != nil {
		return err
	}
	switch m.Type {
	case s.peer:
		s.proofs++
		s.out.release()
		before := s.in.total
		if s.in.accept(&m) {
			s.acks.push(&m)
		}
		if s.in.total > before {
			s.out.portDialled()
		}
	case Acknowledge:
		seq, err := ParseAck(m.Payload)
		if err != nil {
			return err
		}
		s.proofs++
		s.out.ack(seq, now)
	case ChannelClosed:
		s.closed(m.Payload)
	case PausePublication:
		s.out.hold()
	case StartPublication:
		s.out.release()
	}
	return nil
}

// relink records that frames go over a new link from now on.
func (s *stream) relink() {
	s.out.relink()
	s.acks.repeat()
}

// poll returns the next frame to write, or nil. It is valid until the next
// call. Acknowledgements go first: without them the agent sleeps needlessly.
func (s *stream) poll(now time.Duration) []byte {
	if a, ok := s.acks.pop(); ok {
		return s.ackFrame(a, now)
	}
	return s.out.poll(now)
}

func (s *stream) ackFrame(a pendingAck, now time.Duration) []byte {
	m := Message{
		Type:          Acknowledge,
		SchemaVersion: 1,
		Created:       s.out.epoch + uint64(now/time.Millisecond),
		Flags:         SYN | FIN, // as both ends set them in captures
		ID:            s.out.newID(),
	}
	if cap(s.buf) == 0 {
		s.buf = make([]byte, HeadLen, HeadLen+256)
	}
	s.buf = AppendAck(s.buf[:HeadLen], &Message{Type: s.peer, ID: a.id, Sequence: a.seq})
	m.putHead(s.buf)
	return s.buf
}

// pendingAck is an acknowledgement that has not been written yet.
type pendingAck struct {
	id    UUID
	seq   int64
	again bool // it has been written on a link before
}

// maxPendingAcks bounds the acknowledgements that wait while the link cannot be
// written to. Beyond it they are dropped, which is safe but expensive: the
// agent retransmits such messages, one each 100 ms, and those are acknowledged.
const maxPendingAcks = 64 << 10

// ackQueue is a first-in first-out queue in a slice that is reused.
type ackQueue struct {
	q    []pendingAck
	head int

	recent [100]pendingAck // the last ones popped: about 100 ms of a download
	popped int
}

func (a *ackQueue) push(m *Message) {
	if len(a.q)-a.head >= maxPendingAcks {
		return
	}
	if a.head > 0 && len(a.q) == cap(a.q) {
		a.q = a.q[:copy(a.q, a.q[a.head:])]
		a.head = 0
	}
	a.q = append(a.q, pendingAck{id: m.ID, seq: m.Sequence})
}

func (a *ackQueue) pop() (pendingAck, bool) {
	if a.head == len(a.q) {
		a.q, a.head = a.q[:0], 0
		return pendingAck{}, false
	}
	p := a.q[a.head]
	a.head++
	a.recent[a.popped%len(a.recent)] = p
	a.popped++
	return p, true
}

// maxAgain is how many acknowledgements are repeated that had already been
// repeated: with more of them, each of a series of links that last for only a
// few KB would carry nothing else.
const maxAgain = 32

// repeat queues the acknowledgements written last once more. A broken link may
// have lost them, and each one lost costs a tenth of a second, in which the
// agent retransmits a message that we have instead of one that we miss.
func (a *ackQueue) repeat() {
	waiting := slices.Clone(a.q[a.head:])
	a.q, a.head = a.q[:0], 0
	again := 0
	for i := max(a.popped-len(a.recent), 0); i < a.popped; i++ {
		if a.recent[i%len(a.recent)].again {
			again++
		}
	}
	for i := max(a.popped-len(a.recent), 0); i < a.popped; i++ {
		p := a.recent[i%len(a.recent)]
		if p.again {
			again--
			if again >= maxAgain {
				continue
			}
		}
		p.again = true
		a.q = append(a.q, p)
	}
	a.q = append(a.q, waiting...)
	a.popped = 0
}
