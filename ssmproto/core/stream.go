package core

import "time"

// Stream is one end of the data channel without I/O: frames and a time go in,
// frames to write come out. Its user provides the lock, the clock and the link:
// no method may be called concurrently with another. Times are since any fixed
// moment, and never 0.
type Stream struct {
	out *sender
	in  *receiver

	peer MessageType // type of incoming stream data
	acks ackQueue
	buf  []byte // the acknowledgement that Poll returned last

	proofs int64 // frames received that prove that the agent is at the other end

	closed func(payload []byte) // see Handle
}

// NewStream returns the end of a data channel that sends stream data in messages
// of type ours and receives it in messages of type peer. epoch is time 0; seed
// is for the ids of messages.
func NewStream(ours, peer MessageType, epoch time.Time, seed [32]byte) *Stream {
	return &Stream{
		out:    newSender(ours, epoch, seed),
		in:     newReceiver(func(PayloadType, []byte) {}),
		peer:   peer,
		closed: func([]byte) {},
	}
}

// Handle sets the functions for what is not stream data. control is called once,
// in order, for each such message of the agent, and closed when the service ends
// the channel, with its message's payload; it may be called more than once. They
// are called by Receive and Read, and the payload is valid during the call.
func (s *Stream) Handle(control func(t PayloadType, payload []byte), closed func(payload []byte)) {
	s.in.control, s.closed = control, closed
}

// Encrypt sets the cipher of the stream, or none if c is nil.
func (s *Stream) Encrypt(c *Cipher) { s.in.cipher, s.out.cipher = c, c }

// Receive processes one frame from the link. An error means that the frame was
// ignored: if it matters, it will be retransmitted.
func (s *Stream) Receive(frame []byte, now time.Duration) error {
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

// Relink records that frames go over a new link from now on.
func (s *Stream) Relink() {
	s.out.relink()
	s.acks.repeat()
}

// Poll returns the next frame to write, or nil. It is valid until the next
// call. Acknowledgements go first: without them the agent sleeps needlessly.
func (s *Stream) Poll(now time.Duration) []byte {
	if a, ok := s.acks.pop(); ok {
		return s.ackFrame(a, now)
	}
	return s.out.poll(now)
}

func (s *Stream) ackFrame(a pendingAck, now time.Duration) []byte {
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
