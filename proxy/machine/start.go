package machine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

const (
	// bootLimit is how long an instance may take from StartInstances until its
	// agent connects. Large instances that check their disks take minutes.
	bootLimit = 10 * time.Minute

	// bootPoll is the polling interval: short enough not to delay the user,
	// long enough for the account's request limits.
	bootPoll = 2 * time.Second
)

var errBoot = fmt.Errorf("it was started, but its agent has not called in within %v", bootLimit)

// start starts a stopped machine and waits until its agent connects. This time
// does not count as connecting.
func (c *Client) start(ctx context.Context, limit *ask.Limit, m *inventory.Instance) error {
	defer limit.Hold()()
	defer c.Options.Progress("")
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, errBoot)
	defer cancel()
	service := c.Options.Inventory(c.Config)
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
			switch err := c.startInstance(ctx, m.ID); {
			case err == nil:
				asked = true
			case !IsCode(err, "IncorrectInstanceState"): // it is still stopping
				return err
			}
		}
		c.Options.Progress(fmt.Sprintf("%s: %s, %d s", c.Options.Target, bootState(m), int(time.Since(began)/time.Second)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		list, err := service.Find(ctx, inventory.Query{IDs: []string{m.ID}})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case len(list) == 0:
			return &noMachineError{region: c.Config.Region}
		}
		m = &list[0]
		switch {
		case asked && m.State == "running" && m.Online() && !m.Pinged.Equal(before):
			c.Options.Progress("")
			c.Options.Notice(fmt.Sprintf("%s: it is up after %d s", c.Options.Target, int(time.Since(began)/time.Second)))
			return nil
		case asked && m.State != "pending" && m.State != "running" && m.State != "stopped":
			return &AwayError{known: m}
		}
	}
}

// startedLately reports whether an instance may still be booting. EC2's launch
// time is that of the last start.
func startedLately(m *inventory.Instance) bool {
	return !m.Launched.IsZero() && time.Since(m.Launched) < bootLimit && (m.State == "running" || m.State == "pending")
}

// awaitSession opens a session to a machine that was started recently: AWS
// takes up to a minute from the agent's first call until it starts sessions.
// This time does not count as connecting.
func (c *Client) awaitSession(ctx context.Context, m *inventory.Instance, dial func(id string) (*ssmproto.Conn, error)) (*ssmproto.Conn, error) {
	if c.limit != nil {
		defer c.limit.Hold()()
	}
	defer ask.Hold(ctx)() // a forward's session has its own limit
	defer c.Options.Progress("")
	tick := time.NewTicker(bootPoll)
	defer tick.Stop()
	for {
		c.Options.Progress(fmt.Sprintf("%s: AWS does not start sessions with it yet, %d s", c.Options.Target, int(time.Since(m.Launched)/time.Second)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		conn, err := dial(m.ID)
		if !IsCode(err, "TargetNotConnected") || !startedLately(m) {
			return conn, err
		}
	}
}

func bootState(m *inventory.Instance) string {
	if m.State == "running" {
		return "running, its agent has not called in yet"
	}
	return m.State
}

func (c *Client) startInstance(ctx context.Context, id string) error {
	_, err := ec2.NewFromConfig(c.Config).StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	return err
}

// Answered reports whether err is the service's answer.
func Answered(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api)
}

// IsCode reports whether err is the service's error with that code.
func IsCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// Denied reports whether err is about a missing permission.
func Denied(err error) bool {
	return inventory.Denied(err) || IsCode(err, "AuthException") // EC2 Instance Connect's
}
