package core

import "slices"

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
