package machine

import (
	"context"
	"fmt"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

const (
	// bootLimit is how long an instance may take from StartInstances until its
	// agent connects. Large instances that check their disks take minutes.
	bootLimit = 10 * time.Minute

	// bootPoll is the polling interval: short enough not to delay the user,
	// long enough for the account's request limits.
	bootPoll = 2 * time.Second
)

var errBoot = fmt.Errorf("it was started, but its agent did not call in within %v", bootLimit)

// start starts a stopped machine and waits until its agent connects. This time
// does not count as connecting.
func (c *Client) start(ctx context.Context, limit *ask.Limit, m *driver.Machine) error {
	defer limit.Hold()()
	defer c.Options.Progress("")
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, errBoot)
	defer cancel()
	service := c.Service.Inventory(c.Options.missing)
	starter, ok := c.Service.(driver.Starter)
	if !ok {
		return ErrUnsupported
	}
	before := m.Pinged
	began := time.Now()
	// It may have been started already.
	asked := m.State == "pending" || m.State == "running"
	what := "starting it"
	if asked {
		what = "waiting for its agent"
		began = m.Launched
	}
	c.Options.Notice(safetext.Printable(fmt.Sprintf("%s: it is %s; %s", c.Options.Target, m.State, what)))
	tick := time.NewTicker(bootPoll)
	defer tick.Stop()
	for {
		if !asked && m.State != "stopping" {
			var err error
			if asked, err = starter.Start(ctx, m.ID); err != nil {
				return err
			}
		}
		c.Options.Progress(fmt.Sprintf("%s: %s, %d s", c.Options.Target, bootState(m), int(time.Since(began)/time.Second)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		list, err := service.Find(ctx, driver.Target{Text: m.ID, ID: m.ID}, false)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case len(list) == 0:
			return &NoMachineError{region: c.Service.Region()}
		}
		m = &list[0]
		switch {
		case asked && m.State == "running" && m.Online() && !m.Pinged.Equal(before):
			c.Options.Progress("")
			c.Options.Notice(fmt.Sprintf("%s: it is up after %d s", c.Options.Target, int(time.Since(began)/time.Second)))
			return nil
		case asked && m.State != "pending" && m.State != "running" && m.State != "stopped":
			return c.Options.away(m, nil)
		}
	}
}

// startedLately reports whether an instance may still be booting. EC2's launch
// time is that of the last start.
func startedLately(m *driver.Machine) bool {
	return !m.Launched.IsZero() && time.Since(m.Launched) < bootLimit && (m.State == "running" || m.State == "pending")
}

// awaitSession opens a session to a machine that was started recently: AWS
// takes up to a minute from the agent's first call until it starts sessions.
// This time does not count as connecting.
func awaitSession[S any](ctx context.Context, c *Client, m *driver.Machine, dial func(id string) (S, error)) (s S, err error) {
	if c.limit != nil {
		defer c.limit.Hold()()
	}
	defer ask.Hold(ctx)() // a forward's session has its own limit
	defer c.Options.Progress("")
	tick := time.NewTicker(bootPoll)
	defer tick.Stop()
	for {
		c.Options.Progress(fmt.Sprintf("%s: %s does not start sessions with it yet, %d s", c.Options.Target, c.Options.Driver.Words().Cloud, int(time.Since(m.Launched)/time.Second)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
		s, err = dial(m.ID)
		if !c.Options.meaning(err).NotConnected || !startedLately(m) {
			return s, err
		}
	}
}

func bootState(m *driver.Machine) string {
	if m.State == "running" {
		return "running, its agent has not called in yet"
	}
	return m.State
}
