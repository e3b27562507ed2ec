package core

import "time"

// The rest of a Stream's methods: what its two halves do alone. stream.go has
// what involves both.

// Read copies the next bytes of the stream to p. It returns their number and
// whether they are from a command's standard error: all of them are, or none.
func (s *Stream) Read(p []byte) (n int, stderr bool) { return s.in.read(p) }

// Err returns why nothing more can be read after what Read still returns, or nil.
func (s *Stream) Err() error { return s.in.err }

// Full reports whether nothing more may be received until Read has made room.
func (s *Stream) Full() bool { return s.in.full() }

// Buffered returns how many bytes wait for Read, and how many bytes of messages
// wait for others that are missing or for room.
func (s *Stream) Buffered() (ready, held int) { return s.in.buf.n, s.in.kept }

// Delivered returns how many bytes of the stream have become available to Read.
func (s *Stream) Delivered() int64 { return s.in.total }

// Next returns how many messages have been delivered, to Read or to the function
// for control messages.
func (s *Stream) Next() int64 { return s.in.next }

// Repeated returns how many messages have arrived again after they had been
// delivered.
func (s *Stream) Repeated() int64 { return s.in.again }

// Arrived returns how many messages have arrived, including retransmissions.
func (s *Stream) Arrived() int64 { return s.in.arrived() }

// Proofs returns how many frames have been received that only the agent sends.
func (s *Stream) Proofs() int64 { return s.proofs }

// Missing returns how many messages are missing before others that have arrived.
func (s *Stream) Missing() int { return s.in.missing() }

// Gap reports whether messages are missing before others that have arrived.
func (s *Stream) Gap() bool { return s.in.gap() }

// Carried reports whether stream data has arrived or was acknowledged: whether
// the agent has dialled its port.
func (s *Stream) Carried() bool { return s.in.total > 0 || s.in.held > 0 || s.out.dataAcked }

// Room returns how many stream bytes Write would accept now, MaxBacklog at most.
func (s *Stream) Room() int { return s.out.room() }

// Write queues as many stream bytes as there is room for and returns their
// number.
func (s *Stream) Write(p []byte) int { return s.out.write(p) }

// Control queues a message that is not stream data. The window does not hold it
// back, but it is sent in order, after what was queued before.
func (s *Stream) Control(t PayloadType, payload []byte) { s.out.control(t, payload) }

// Replace is like Control, but the message replaces the last one in the queue if
// that has the same type and has not been sent.
func (s *Stream) Replace(t PayloadType, payload []byte) { s.out.replace(t, payload) }

// Deadline returns when Tick and Poll are due, or 0 if they need no time to pass.
func (s *Stream) Deadline() time.Duration { return s.out.deadline() }

// Tick retransmits what has not been acknowledged in time.
func (s *Stream) Tick(now time.Duration) { s.out.tick(now) }

// Postpone replaces Tick while acknowledgements are not read because the stream
// is not.
func (s *Stream) Postpone(now time.Duration) { s.out.postpone(now) }

// Idle reports whether everything queued has been acknowledged.
func (s *Stream) Idle() bool { return s.out.idle() }

// Queued returns how many messages have been queued so far, Sent how many of
// them have been sent, and Unacknowledged how many have not been acknowledged.
func (s *Stream) Queued() int64 { return s.out.end }

// Sent is described with Queued.
func (s *Stream) Sent() int64 { return s.out.next }

// Unacknowledged is described with Queued.
func (s *Stream) Unacknowledged() int { return int(s.out.end - s.out.una) }

// Timeouts returns how many retransmission timeouts there were in a row, up to
// now, without an acknowledgement.
func (s *Stream) Timeouts() int { return int(s.out.backoff) }

// AnswerTime returns the time within which acknowledgements usually arrive: the
// retransmission timeout, before any back-off.
func (s *Stream) AnswerTime() time.Duration { return s.out.rtt.timeout() }
