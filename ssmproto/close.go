package ssmproto

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/deadline"
)

// Bounds of Close: lingerTime is how long it waits for acknowledgements,
// closeTime how long it takes in all.
const (
	lingerTime = time.Second
	closeTime  = 1900 * time.Millisecond
)

// Close ends the session and releases all resources, within 2 s. If there is a
// link, it waits up to one second until everything written is acknowledged, and
// tells the agent. It then asks the service to terminate the session.
func (c *Conn) Close() error {
	var err error
	c.closing.Do(func() {
		until := time.Now().Add(closeTime)
		c.linger(lingerTime)
		c.mu.Lock()
		over := c.over || errors.Is(c.err, ErrSessionEnded)
		c.mu.Unlock()
		if !over {
			c.sayGoodbye()
		}
		c.fail(net.ErrClosed)
		c.cancel()
		c.wg.Wait()
		if !over {
			ctx, cancel := context.WithDeadline(context.Background(), until)
			defer cancel()
			if err = c.session.Terminate(ctx); err != nil {
				err = fmt.Errorf("terminating the session: %w", err)
			}
		}
	})
	return err
}

// linger waits until everything written is acknowledged, if there is a link.
func (c *Conn) linger(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := deadline.Deadline{Cond: &c.drained}
	limit.Set(time.Now().Add(d))
	defer limit.Set(time.Time{})
	c.lingering++
	defer func() { c.lingering-- }()
	for c.linked && c.err == nil && !c.s.Idle() && !limit.Passed() {
		c.drained.Wait()
	}
}

// Flush waits until everything written is acknowledged. It returns the Conn's
// error if that ends first, or the cause of ctx.
func (c *Conn) Flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.drained.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lingering++
	defer func() { c.lingering-- }()
	for c.err == nil && !c.s.Idle() && ctx.Err() == nil {
		c.drained.Wait()
	}
	if c.err != nil {
		return c.writeError()
	}
	if !c.s.Idle() {
		return context.Cause(ctx)
	}
	return nil
}

// sayGoodbye tells the agent to end the session. The agent usually does not
// acknowledge that, so sayGoodbye only waits, briefly, until it is written.
func (c *Conn) sayGoodbye() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.linked || c.err != nil {
		return
	}
	c.s.Control(core.FlagPayload, binary.BigEndian.AppendUint32(nil, uint32(core.TerminateSession)))
	c.wakeWriter()
	limit := deadline.Deadline{Cond: &c.drained}
	limit.Set(time.Now().Add(100 * time.Millisecond))
	defer limit.Set(time.Time{})
	c.lingering++
	defer func() { c.lingering-- }()
	for flag := c.s.Queued(); c.linked && c.err == nil && c.written < flag && !limit.Passed(); {
		c.drained.Wait()
	}
}

// fail ends the Conn with err, unless it has ended already.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *Conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.grace != nil {
		c.grace.Stop()
	}
	close(c.ended)
	c.cancel()
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.drained.Broadcast()
}

// Done returns a channel that is closed when c has ended; Err says why.
func (c *Conn) Done() <-chan struct{} { return c.ended }

// Err returns why c has ended, or nil if it has not. io.EOF means that it ended
// normally.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
