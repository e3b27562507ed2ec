package core

const (
	// readLimit is how many bytes of the stream may wait for Read.
	readLimit = 1 << 20

	// Bounds of what may wait out of order, in messages and in bytes. The agent
	// keeps 100,000 messages and goes on sending, at 1 MB/s, while it
	// retransmits lost ones at ten a second. It would have to retransmit
	// whatever has no place here, too, and never catch up. So there is room for
	// what arrives while it retransmits about 800 messages.
	maxReorder      = 128 << 10
	maxReorderBytes = 64 << 20

	// keptSlots is how many slots, with their memory, are kept for reuse.
	keptSlots = 2048
	minSlots  = 64
)

// receiver is the incoming half of a stream: it puts messages into order,
// discards duplicates and buffers data until it is read. It has no lock and no
// I/O. The constants above bound its memory.
type receiver struct {
	// control is called once, in order, for each message that is not stream
	// data. The payload is valid during the call.
	control func(t PayloadType, payload []byte)
	cipher  *Cipher // if set, decrypts payloads

	buf   byteRing
	errs  []span // the parts of buf that are a command's standard error, in order
	slots []slot // messages that arrived out of order, by sequence number
	next  int64  // sequence number to be delivered next
	kept  int    // bytes in slots
	held  int    // messages in slots
	top   int64  // one past the highest number in slots
	total int64  // stream bytes delivered to buf, standard error included
	again int64  // messages received again after they had been delivered
	err   error  // why nothing more can be delivered
}

// span is a part of the stream: the bytes from from up to, but not including,
// to.
type span struct{ from, to int64 }

type slot struct {
	full    bool
	payload PayloadType
	data    []byte
}

func newReceiver(control func(PayloadType, []byte)) *receiver {
	return &receiver{control: control, slots: make([]slot, minSlots)}
}

func (r *receiver) at(seq int64) *slot { return &r.slots[seq&int64(len(r.slots)-1)] }

// full reports whether nothing more may be accepted until Read has made room.
func (r *receiver) full() bool { return r.buf.n > readLimit-MaxFrame }

// accept takes one message of stream data and reports whether to acknowledge
// it. A message that is not acknowledged was not kept, and will be
// retransmitted.
func (r *receiver) accept(m *Message) bool {
	switch ahead := m.Sequence - r.next; {
	case m.Sequence < 0 || ahead >= maxReorder:
		return false
	case ahead < 0:
		r.again++
		return true // a duplicate; its acknowledgement may have been lost
	default:
		for int(ahead) >= len(r.slots) {
			r.growSlots()
		}
	}
	s := r.at(m.Sequence)
	if s.full {
		return true
	}
	if m.Sequence == r.next && r.deliver(m.PayloadType, m.Payload) {
		r.next++
		r.advance()
		return true
	}
	if r.kept+len(m.Payload) > maxReorderBytes {
		return false
	}
	s.full, s.payload, s.data = true, m.PayloadType, append(s.data[:0], m.Payload...)
	r.kept += len(m.Payload)
	r.held++
	r.top = max(r.top, m.Sequence+1)
	return true
}

// advance delivers the messages whose turn it is, as far as there is room.
func (r *receiver) advance() {
	for r.held > 0 {
		s := r.at(r.next)
		if !s.full || !r.deliver(s.payload, s.data) {
			return
		}
		s.full = false
		r.kept -= len(s.data)
		if cap(s.data) > 2*MaxPayload {
			s.data = nil // or empty slots would hold on to large buffers
		}
		r.held--
		r.next++
	}
	if len(r.slots) > keptSlots {
		r.slots = make([]slot, minSlots)
	}
}

// deliver delivers one message, or returns false if there is no room for it.
func (r *receiver) deliver(t PayloadType, data []byte) bool {
	if r.err != nil {
		return true // there is a hole before it
	}
	stream := t == Output || t == StdErr
	if stream && r.buf.n+len(data) > readLimit {
		return false
	}
	if r.cipher != nil && (stream || t == ExitCode) {
		plain, err := r.cipher.open(data)
		if err != nil {
			r.err = err
			return true
		}
		data = plain
	}
	if !stream {
		r.control(t, data)
		return true
	}
	if t == StdErr && len(data) > 0 {
		r.markErr(len(data))
	}
	r.buf.write(data)
	r.total += int64(len(data))
	return true
}

// markErr records that the next n bytes are from a command's standard error.
func (r *receiver) markErr(n int) {
	if last := len(r.errs) - 1; last >= 0 && r.errs[last].to == r.total {
		r.errs[last].to += int64(n)
	} else {
		r.errs = append(r.errs, span{r.total, r.total + int64(n)})
	}
}

func (r *receiver) growSlots() {
	old := r.slots
	r.slots = make([]slot, 2*len(old))
	for i := range int64(len(old)) {
		seq := r.next + i
		*r.at(seq) = old[seq&int64(len(old)-1)]
	}
}

// read copies the next bytes of the stream to p. It returns their number and
// whether they are from a command's standard error: all of them are, or none.
func (r *receiver) read(p []byte) (n int, stderr bool) {
	if len(r.errs) > 0 {
		at, next := r.total-int64(r.buf.n), r.errs[0]
		end := next.from
		if stderr = at >= next.from; stderr {
			end = next.to
		}
		p = p[:min(int64(len(p)), end-at)]
		if at+int64(len(p)) == next.to {
			r.errs = r.errs[1:]
		}
	}
	if n = r.buf.read(p); n > 0 {
		r.advance()
	}
	return n, stderr
}

// arrived returns how many messages have arrived, including retransmissions.
func (r *receiver) arrived() int64 { return r.next + int64(r.held) + r.again }

// missing returns how many messages are missing before others that have
// arrived.
func (r *receiver) missing() int {
	if r.held == 0 {
		return 0
	}
	return int(r.top-r.next) - r.held
}

// gap reports whether messages are missing before others that have arrived.
// (Messages that only wait for room are not missing.)
func (r *receiver) gap() bool { return r.missing() > 0 }

// byteRing is a queue of bytes that grows as needed; its user bounds it.
type byteRing struct {
	buf  []byte // its length is a power of two
	head int    // where the oldest byte is
	n    int    // bytes queued
}

func (b *byteRing) write(p []byte) {
	for len(b.buf)-b.n < len(p) {
		b.grow()
	}
	tail := (b.head + b.n) & (len(b.buf) - 1)
	k := copy(b.buf[tail:], p)
	copy(b.buf, p[k:])
	b.n += len(p)
}

func (b *byteRing) read(p []byte) int {
	p = p[:min(len(p), b.n)]
	if len(p) == 0 {
		return 0
	}
	k := copy(p, b.buf[b.head:])
	copy(p[k:], b.buf)
	b.head = (b.head + len(p)) & (len(b.buf) - 1)
	b.n -= len(p)
	if b.n == 0 {
		b.head = 0 // stay in the part of the buffer that is in the CPU's cache
	}
	return len(p)
}

func (b *byteRing) grow() {
	grown := make([]byte, max(2*len(b.buf), 16<<10))
	n := b.n
	b.read(grown[:n])
	b.buf, b.head, b.n = grown, 0, n
}
