package ssmproto

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/clip"
	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// control handles the agent's messages that are not stream data. It is called
// once for each, in order, with c.mu held.
func (c *Conn) control(t core.PayloadType, payload []byte) {
	var err error
	// The handshake happens once. A second response would block the agent for
	// good, and encryption must not be switched off in mid-session.
	once := func(done *bool) bool {
		first := !*done
		*done = true
		return first
	}
	switch {
	case t == core.HandshakeRequestType && once(&c.asked):
		request := append([]byte(nil), payload...)
		c.wg.Add(1)
		go c.answerHandshake(request)
	case t == core.EncChallengeRequest && once(&c.challenged):
		var response []byte
		if response, err = c.hs.answerChallenge(payload); err == nil {
			c.s.Control(core.EncChallengeResponse, response)
		}
	case t == core.HandshakeComplete && c.refusal != nil:
		err = c.refusal
	case t == core.HandshakeComplete && !c.isOpen() && c.hs.sessionType == "":
		err = errors.New("the agent completed it before it was answered")
	case t == core.HandshakeComplete && !c.isOpen():
		var done handshakeComplete
		if err = json.Unmarshal(payload, &done); err == nil {
			c.hs.message = clip.Text(done.CustomerMessage)
			c.s.Encrypt(c.hs.cipher)
			c.open()
		}
	case t == core.FlagPayload:
		err = c.handleFlag(payload)
	case t == core.ExitCode:
		c.setExitStatus(payload)
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

// handleFlag handles a flag from the agent.
func (c *Conn) handleFlag(payload []byte) error {
	if len(payload) != 4 {
		return nil
	}
	flag := core.Flag(binary.BigEndian.Uint32(payload))
	c.log.Debug("flag", "value", flag)
	switch {
	case flag != core.ConnectToPortError:
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

// answerHandshake runs on its own goroutine because a data key takes a call to
// KMS, during which we must go on acknowledging.
func (c *Conn) answerHandshake(request []byte) {
	defer c.wg.Done()
	var h handshake
	response, err := h.answer(c.ctx, request, c.cfg.ClientVersion, c.cfg.DataKey)
	c.mu.Lock()
	c.hs = h
	if response != nil {
		c.s.Control(core.HandshakeResponse, response)
		c.wakeWriter()
	}
	if err != nil {
		c.refusal = &HandshakeError{err}
	}
	c.mu.Unlock()
	if err != nil {
		c.linger(lingerTime) // so that the response reaches the agent
		c.fail(&HandshakeError{err})
	}
}

// closeGrace is how long a gap may stay open after channel_closed: the missing
// messages may still arrive, but will not be retransmitted.
const closeGrace = time.Second

// channelClosed records that the service ended the session. c.mu is held.
func (c *Conn) channelClosed(payload []byte) {
	if c.over {
		return
	}
	c.over = true
	var closed struct{ Output string }
	json.Unmarshal(payload, &closed) // the reason is optional
	c.reason = clip.Text(closed.Output)
	c.log.Debug("channel closed", "output", c.reason)
	if c.s.Gap() {
		c.grace = time.AfterFunc(closeGrace, func() { c.fail(ErrGap) })
	}
	c.endIfComplete()
}

// endIfComplete ends the Conn if the service has ended the session and no message is
// missing. c.mu is held.
func (c *Conn) endIfComplete() {
	if !c.over || c.s.Gap() {
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
	case c.hs.sessionType == PortSession && !c.s.Carried():
		err = ErrNotConnected
	}
	c.failLocked(err)
}

// received passes everything that the link has read to the core. An error ends
// the link.
func (c *Conn) received(l *link.Link) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ended error
	before, arrived, proofs, now, frames, size := c.s.Delivered(), c.s.Arrived(), c.s.Proofs(), c.now(), 0, 0
	for c.err == nil {
		frame, err := l.Next()
		if frame == nil {
			ended = err
			break
		}
		size = len(frame)
		if err := c.s.Receive(frame, now); err != nil {
			c.log.Debug("frame ignored", "err", err)
			continue
		}
		frames++
	}
	if frames == 0 {
		return ended
	}
	if c.s.Proofs() > proofs {
		c.agentAnswered(now)
	}
	l.Received(c.s.Arrived()-arrived, c.s.Proofs() > proofs)
	l.Moderate(frames, size, c.s.Delivered() > before && c.s.Idle())
	if c.s.Delivered() > before {
		c.readable.Signal()
		if before == 0 {
			c.log.Debug("first bytes from the port")
		}
		if c.hs.agentVersion == "" {
			// Data before any handshake: the agent is too old for one, so this
			// is a shell.
			c.hs.sessionType = ShellSession
			c.open()
		}
	}
	if c.s.Err() != nil {
		c.failLocked(c.s.Err())
	}
	c.endIfComplete()
	c.checkGap(now)
	if c.lingering > 0 && c.s.Idle() {
		c.drained.Broadcast()
	}
	c.wakeWriter()
	return ended
}

// gapLimit is how long a message may be missing while others arrive. Once it is
// the oldest in the agent's buffer, the agent retransmits it at least every
// second, unless the buffer was too small to keep it. While the agent
// retransmits messages that we have, because our acknowledgements were lost, it
// makes progress towards the missing one, at ten messages a second.
const gapLimit = time.Minute

// repeatEvery is how long the agent takes to retransmit one message (protocol
// section 4).
const repeatEvery = 100 * time.Millisecond

// tellRepeat is how many messages must be missing to be reported: the agent
// takes three seconds for as many.
const tellRepeat = 30

// tellRepeatAfter is how long a gap must be open to be reported: messages that
// were merely reordered have arrived by then.
const tellRepeatAfter = time.Second

// checkGap reports a gap that will take long to fill, and ends the Conn if a
// gap is not being filled.
func (c *Conn) checkGap(now time.Duration) {
	if !c.s.Gap() {
		c.gapBegan, c.gapSince, c.gapTold = 0, 0, false
		return
	}
	if c.gapBegan == 0 {
		c.gapBegan = now
	}
	if n := c.s.Missing(); n >= tellRepeat && !c.gapTold && now-c.gapBegan >= tellRepeatAfter {
		c.gapTold = true
		c.log.Info("the agent repeats messages that were lost", "messages", n)
		if c.cfg.OnRepeat != nil {
			c.cfg.OnRepeat(Repeat{Messages: n, Takes: time.Duration(n) * repeatEvery})
		}
	}
	switch {
	case c.gapSince == 0 || c.gapAt != c.s.Next()+c.s.Repeated():
		c.gapSince, c.gapAt = now, c.s.Next()+c.s.Repeated()
	case now-c.gapSince > c.cfg.gapLimit:
		c.failLocked(ErrGap)
	}
}

// waitForRoom blocks the reader while Read does not keep up, so that memory
// stays bounded and TCP slows the agent down.
func (c *Conn) waitForRoom(l *link.Link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.Full() {
		c.stalled = true
		l.Pause()
		for c.s.Full() && c.err == nil && c.linked {
			c.drained.Wait()
		}
		c.stalled = false
		l.Unpause()
		c.s.Postpone(c.now())
	}
	return c.err == nil && c.linked
}
