package ssmproto

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// control handles what the agent sends beside the stream: in order, once, and
// with c.mu held.
func (c *Conn) control(t PayloadType, payload []byte) {
	var err error
	// The handshake is made once. A second answer would block the agent for
	// good, and nobody may switch encryption off in mid-session.
	once := func(done *bool) bool {
		first := !*done
		*done = true
		return first
	}
	switch {
	case t == HandshakeRequestType && once(&c.asked):
		request := append([]byte(nil), payload...)
		c.wg.Add(1)
		go c.answerHandshake(request)
	case t == EncChallengeRequest && once(&c.challenged):
		var response []byte
		if response, err = c.hs.answerChallenge(payload); err == nil {
			c.s.out.control(EncChallengeResponse, response)
		}
	case t == HandshakeComplete && c.refusal != nil:
		err = c.refusal
	case t == HandshakeComplete && !c.isOpen() && c.hs.sessionType == "":
		err = errors.New("the agent completed it before it was answered")
	case t == HandshakeComplete && !c.isOpen():
		var done handshakeComplete
		if err = json.Unmarshal(payload, &done); err == nil {
			c.hs.message = clip(done.CustomerMessage)
			c.s.in.cipher, c.s.out.cipher = c.hs.cipher, c.hs.cipher
			c.open()
		}
	case t == FlagPayload:
		err = c.flagged(payload)
	case t == ExitCode:
		c.exited(payload)
	default:
		c.log.Debug("message ignored", "payload type", t)
	}
	if err != nil {
		var refused *HandshakeError
		if !errors.Is(err, ErrNotConnected) && !errors.As(err, &refused) {
			err = &HandshakeError{err}
		}
		c.failLocked(err)
	}
}

// flagged takes in a flag of the agent's.
func (c *Conn) flagged(payload []byte) error {
	if len(payload) != 4 {
		return nil
	}
	flag := Flag(binary.BigEndian.Uint32(payload))
	c.log.Debug("flag", "value", flag)
	switch {
	case flag != ConnectToPortError:
	case c.refused != nil:
		c.refused()
	case !c.multiplexed():
		return ErrNotConnected
	}
	return nil
}

func (c *Conn) isOpen() bool {
	select {
	case <-c.opened:
		return true
	default:
		return false
	}
}

func (c *Conn) open() {
	if !c.isOpen() {
		c.log.Debug("handshake complete", "type", c.hs.sessionType, "agent", c.hs.agentVersion)
		close(c.opened)
	}
}

// answerHandshake runs on a goroutine of its own because a data key takes a
// call to KMS, during which acknowledgements must go on.
func (c *Conn) answerHandshake(request []byte) {
	defer c.wg.Done()
	var h handshake
	response, err := h.answer(c.ctx, request, c.cfg.ClientVersion, c.cfg.DataKey)
	c.mu.Lock()
	c.hs = h
	if response != nil {
		c.s.out.control(HandshakeResponse, response)
		c.wakeWriter()
	}
	if err != nil {
		c.refusal = &HandshakeError{err}
	}
	c.mu.Unlock()
	if err != nil {
		c.linger(lingerTime) // so that the agent learns it from the response
		c.fail(&HandshakeError{err})
	}
}

// closeGrace is how long a gap may stay open after channel_closed: what is
// missing may still be on its way, but nobody will send it again.
const closeGrace = time.Second

// channelClosed takes in that the service ended the session. c.mu is held.
func (c *Conn) channelClosed(payload []byte) {
	if c.over {
		return
	}
	c.over = true
	var closed struct{ Output string }
	json.Unmarshal(payload, &closed) // without a reason it is closed all the same
	c.reason = clip(closed.Output)
	c.log.Debug("channel closed", "output", c.reason)
	if c.s.in.gap() {
		c.grace = time.AfterFunc(closeGrace, func() { c.fail(ErrGap) })
	}
	c.leave()
}

// leave ends the Conn once the service has ended the session and nothing is
// missing before what has come. c.mu is held.
func (c *Conn) leave() {
	if !c.over || c.s.in.gap() {
		return
	}
	err := error(io.EOF)
	switch {
	case c.refusal != nil:
		err = c.refusal
	case c.reason != "":
		err = &ClosedError{Reason: c.reason}
	case !c.isOpen():
		err = &HandshakeError{errors.New("the agent closed the session")}
	case c.hs.sessionType == PortSession && c.s.in.total == 0 && c.s.in.held == 0 && !c.s.out.dataAcked:
		err = ErrNotConnected
	}
	c.failLocked(err)
}

// received hands to the core all that the link has read. An error is the end of
// the link.
func (c *Conn) received(l *link) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ended error
	before, arrived, proofs, now, frames, size := c.s.in.total, c.s.in.arrived(), c.s.proofs, c.now(), 0, 0
	for c.err == nil {
		frame, err := l.next()
		if frame == nil {
			ended = err
			break
		}
		size = len(frame)
		if err := c.s.receive(frame, now); err != nil {
			c.log.Debug("frame ignored", "err", err)
			continue
		}
		frames++
	}
	if frames == 0 {
		return ended
	}
	if c.s.proofs > proofs {
		l.proof = true
		c.answers(now)
	}
	l.stream += c.s.in.arrived() - arrived
	l.moderate(frames, size, c.s.in.total > before && c.s.out.idle())
	if c.s.in.total > before {
		c.readable.Signal()
		if before == 0 {
			c.log.Debug("first bytes from the port")
		}
		if c.hs.agentVersion == "" {
			// Data before any handshake: an agent too old for one, so a shell.
			c.hs.sessionType = ShellSession
			c.open()
		}
	}
	if c.s.in.err != nil {
		c.failLocked(c.s.in.err)
	}
	c.leave()
	c.checkGap(now)
	if c.lingering > 0 && c.s.out.idle() {
		c.drained.Broadcast()
	}
	c.wakeWriter()
	return ended
}

// gapLimit is how long a message may be missing while others come. The agent
// repeats it every second at the latest once it is the oldest on its list, if
// it still has it: those beyond its buffer it has not. As long as it repeats
// what we have, because our acknowledgements were lost, it is on its way there,
// at ten messages a second.
const gapLimit = time.Minute

// repeatEvery is how long the agent takes for each message that it repeats
// (protocol section 4).
const repeatEvery = 100 * time.Millisecond

// tellRepeatAfter is how long a gap may be open before anybody is told: what only
// came in another order is there by then.
const tellRepeatAfter = time.Second

// checkGap tells of a gap that will take long to fill, and ends the Conn over one
// that is not being filled.
func (c *Conn) checkGap(now time.Duration) {
	if !c.s.in.gap() {
		c.gapBegan, c.gapSince, c.gapTold = 0, 0, false
		return
	}
	if c.gapBegan == 0 {
		c.gapBegan = now
	}
	if n := c.s.in.missing(); n >= dearMessages && !c.gapTold && now-c.gapBegan >= tellRepeatAfter {
		c.gapTold = true
		c.log.Info("the agent repeats messages that were lost", "messages", n)
		if c.cfg.OnRepeat != nil {
			c.cfg.OnRepeat(Repeat{Messages: n, Takes: time.Duration(n) * repeatEvery})
		}
	}
	switch {
	case c.gapSince == 0 || c.gapAt != c.s.in.next+c.s.in.again:
		c.gapSince, c.gapAt = now, c.s.in.next+c.s.in.again
	case now-c.gapSince > c.cfg.gapLimit:
		c.failLocked(ErrGap)
	}
}

// waitForRoom blocks the reader while Read does not keep up, so that memory
// stays flat and the agent is held back by TCP.
func (c *Conn) waitForRoom(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.in.full() {
		c.stalled = true
		l.watch.pause()
		for c.s.in.full() && c.err == nil && c.linked {
			c.drained.Wait()
		}
		c.stalled = false
		l.watch.unpause()
		c.s.out.postpone(c.now())
	}
	return c.err == nil && c.linked
}
