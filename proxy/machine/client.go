package machine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/cache"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Destination is a port of the target, or of a host that the target can reach.
type Destination = driver.Destination

// Client opens sessions to one target.
type Client struct {
	Options *Options
	Target  driver.Target
	Service driver.Service
	Buffer  int        // of driver.PortRequest
	limit   *ask.Limit // limits connecting once the machine is known; otherwise nil

	mu sync.Mutex
	At Machine // the machine that the target resolves to
}

// ConnectLimit limits the time for connecting.
func (o *Options) ConnectLimit(ctx context.Context) (limited context.Context, limit *ask.Limit, stop func()) {
	return ask.WithLimit(ctx, o.ConnectTimeout, fmt.Errorf("%w after %v", driver.ErrConnectTimeout, o.ConnectTimeout))
}

// ParseTarget parses the user's name for a machine. It removes o.StripSuffix if
// present.
func (o *Options) ParseTarget(text string) (driver.Target, error) {
	name := text
	if at := len(text) - len(o.StripSuffix); at > 0 && strings.EqualFold(text[at:], o.StripSuffix) {
		name = text[:at]
	}
	wrong := func(why string) (driver.Target, error) {
		return driver.Target{}, fmt.Errorf("%q is %w: %s", text, driver.ErrTarget, why)
	}
	switch {
	case name == "":
		return wrong("it is empty")
	case strings.HasPrefix(name, "-"):
		return wrong("it begins with -")
	}
	t, err := o.Driver.Parse(name)
	if err != nil {
		return wrong(err.Error())
	}
	return t, nil
}

// Configure parses o.Target, reads the configuration and fetches credentials
// within limited. Credentials that are refreshed later are bound to ctx instead.
// The caller must release the Client, even after an error.
func (o *Options) Configure(ctx, limited context.Context) (*Client, error) {
	c, err := o.parse()
	if err != nil {
		return c, err
	}
	c.Service, err = o.Driver.Open(ctx, limited, &o.Account)
	return c, err
}

// parse returns a Client without a Service.
func (o *Options) parse() (*Client, error) {
	o.Fill()
	c := &Client{Options: o}
	var err error
	if c.Target, err = o.ParseTarget(o.Target); err != nil {
		return c, err
	}
	if c.Target.Region != "" {
		o.Region = c.Target.Region
	}
	return c, nil
}

// Release closes what was opened in advance and has not been used.
func (c *Client) Release() {
	if c.Service != nil {
		c.Service.Release()
	}
}

// NewClient is Configure followed by finding the machine, and starting it if o
// says so.
func (o *Options) NewClient(ctx, limited context.Context, limit *ask.Limit) (*Client, error) {
	c, err := o.Configure(ctx, limited)
	if err != nil {
		return c, err
	}
	return c, c.find(ctx, limited, limit)
}

// NewClientWith is NewClient with a Service that is shared. open returns the
// Service of o.Region.
func (o *Options) NewClientWith(ctx context.Context, limit *ask.Limit, open func(context.Context) (driver.Service, error)) (*Client, error) {
	c, err := o.parse()
	if err != nil {
		return c, err
	}
	if c.Service, err = open(ctx); err != nil {
		return c, err
	}
	return c, c.find(ctx, ctx, limit)
}

func (c *Client) find(ctx, limited context.Context, limit *ask.Limit) (err error) {
	if c.At, err = c.Resolve(limited); err != nil {
		return err
	}
	return c.awake(ctx, limit)
}

// awake starts the machine if it is known to be stopped and the options say to
// start it.
func (c *Client) awake(ctx context.Context, limit *ask.Limit) error {
	if c.At.Known == nil {
		return nil
	}
	c.limit = limit
	if c.Options.Start && c.At.Known.State == "running" && !c.At.Known.Online() && startedLately(c.At.Known) {
		return c.named(c.start(ctx, limit, c.At.Known))
	}
	switch c.At.Known.State {
	case "stopped", "stopping", "pending":
		if !c.Options.Start {
			return c.named(c.Options.away(c.At.Known, nil))
		}
		return c.named(c.start(ctx, limit, c.At.Known))
	}
	return nil
}

// named adds the machine's id to err.
func (c *Client) named(err error) error {
	if id := c.Machine().ID; err != nil && id != c.Options.Target {
		return &MachineError{id, err}
	}
	return err
}

// Machine returns the machine that the target resolves to now.
func (c *Client) Machine() Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.At
}

// Open starts a session to d, for an ssh client or for any other. It uses the
// document that the user named, if any.
func (c *Client) Open(ctx context.Context, d Destination, ssh bool) (stream.Port, error) {
	return open(ctx, c, func(id string) (stream.Port, error) {
		return c.Service.OpenPort(ctx, id, driver.PortRequest{SessionOptions: c.session(), To: d, SSH: ssh, Buffer: c.Buffer})
	})
}

// OpenShell opens a session to the target for what r asks for. ctx and the
// connect limit apply only to opening.
func (o *Options) OpenShell(ctx context.Context, r driver.ShellRequest) (*driver.Shell, error) {
	limited, limit, stop := o.ConnectLimit(ctx)
	defer stop()
	c, err := o.NewClient(ctx, limited, limit)
	defer c.Release()
	if err != nil {
		return nil, err
	}
	r.SessionOptions = c.session()
	return open(limited, c, func(id string) (*driver.Shell, error) {
		return c.Service.OpenShell(limited, id, r)
	})
}

// open opens a session with dial, which gets the machine's id. If the machine
// does not answer, open looks the name up again, since it may now resolve to
// another machine. If it does not, the new answer may still explain the error.
func open[S any](ctx context.Context, c *Client, dial func(id string) (S, error)) (s S, err error) {
	var none S
	m := c.Machine()
	s, err = dial(m.ID)
	meaning := c.Options.meaning(err)
	away := meaning.NotConnected
	if !away && !(m.cached && meaning.Denied) {
		return s, c.named(err)
	}
	again, lookErr := c.LookUp(ctx)
	switch {
	case ctx.Err() != nil:
		return none, c.named(context.Cause(ctx))
	case lookErr != nil && c.Target.ID == "":
		return none, lookErr
	case lookErr != nil || !away && again.ID == m.ID:
		return none, c.named(err)
	}
	c.mu.Lock()
	c.At = again
	c.mu.Unlock()
	if again.ID != m.ID {
		c.Options.Log.Info("the name leads to another machine now", "id", again.ID, "before", m.ID)
		s, err = dial(again.ID)
		away = c.Options.meaning(err).NotConnected
	}
	if away && c.Options.Start && again.Known != nil && startedLately(again.Known) {
		s, err = awaitSession(ctx, c, again.Known, dial)
		away = c.Options.meaning(err).NotConnected
	}
	if away {
		cache.User().Drop(c.cacheKey()...)
		if again.Known != nil {
			err = c.Options.away(again.Known, err)
		}
	}
	return s, c.named(err)
}

// session returns the options of the Client's sessions.
func (c *Client) session() driver.SessionOptions {
	r := c.Options.Session()
	r.Target = c.Target
	return r
}

// Session returns the options of sessions to o.Target.
func (o *Options) Session() driver.SessionOptions {
	return driver.SessionOptions{
		Document:      o.Document,
		Reason:        o.Reason,
		ResumeTimeout: o.ResumeTimeout,
		KeepAlive:     o.KeepAlive,
		OnOutage:      o.tellOutage(),
		OnSilence:     o.tellSilence,
		OnRepeat:      o.tellRepeat,
		Lingers: func(session string, err error) {
			o.Notice(safetext.Printable(fmt.Sprintf("%s: could not end the session %s (%s); %s will end it once it has been idle", o.Target, session, o.Cause(err), o.Driver.Words().Cloud)))
		},
		Log: o.Log,
	}
}

// cacheKey returns the cache key of a name: the account, region, endpoint and
// profile, and what chooses among several machines.
func (c *Client) cacheKey() []string {
	return slices.Concat([]string{"target"}, c.Service.CacheKey(), []string{string(c.Options.Pick), fmt.Sprint(c.Options.AnyCase), c.Target.Text})
}
