package machine

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// AWS's session documents that lead to a port.
const (
	SSHDocument    = "AWS-StartSSHSession"
	portDocument   = "AWS-StartPortForwardingSession"
	remoteDocument = "AWS-StartPortForwardingSessionToRemoteHost"
)

// Destination is a port of the target, or of a host that the target can reach.
type Destination struct {
	Host string // "" is the target itself
	Port string
}

func (d Destination) String() string {
	if d.Host == "" {
		return net.JoinHostPort("localhost", d.Port)
	}
	return net.JoinHostPort(d.Host, d.Port)
}

// Client opens sessions to one target, all with the same AWS configuration.
type Client struct {
	Options *Options
	Target  Target
	Config  aws.Config
	Account string
	Warm    *awsapi.Warm // the caller must drop it, even after an error
	limit   *ask.Limit   // limits connecting once the machine is known; otherwise nil

	mu    sync.Mutex
	At    Machine    // the machine that the target resolves to
	found *foundTask // ECS's description of the task, if At is a container; nil if not asked yet
}

// ConnectLimit limits the time for connecting.
func (o *Options) ConnectLimit(ctx context.Context) (limited context.Context, limit *ask.Limit, stop func()) {
	return ask.WithLimit(ctx, o.ConnectTimeout, fmt.Errorf("%w after %v", ErrConnectTimeout, o.ConnectTimeout))
}

// Configure reads the configuration and fetches credentials within limited.
// Credentials that are refreshed later are bound to ctx instead.
func (o *Options) Configure(ctx, limited context.Context) (*Client, error) {
	o.Fill()
	c := &Client{Options: o, Warm: &awsapi.Warm{}}
	var err error
	if c.Target, err = ParseTarget(o.Target, o.StripSuffix); err != nil {
		return c, err
	}
	if c.Target.Region != "" {
		o.Region = c.Target.Region
	}
	c.Config, c.Account, c.Warm, err = awsapi.Load(ctx, limited, o.Account())
	return c, err
}

// NewClient is Configure followed by finding the machine, and starting it if o
// says so.
func (o *Options) NewClient(ctx, limited context.Context, limit *ask.Limit) (*Client, error) {
	c, err := o.Configure(ctx, limited)
	if err != nil {
		return c, err
	}
	if c.At, err = c.Resolve(limited); err != nil {
		return c, err
	}
	return c, c.Awake(ctx, limit)
}

// Awake starts the machine if it is known to be stopped and o says to start it.
func (c *Client) Awake(ctx context.Context, limit *ask.Limit) error {
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
			return c.named(&AwayError{known: c.At.Known})
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

func (c *Client) Machine() Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.At
}

// Open starts a session to d. It uses the document that the user named;
// otherwise document; otherwise the one that d needs.
func (c *Client) Open(ctx context.Context, document string, d Destination) (stream.Port, error) {
	conn, err := c.OpenConn(ctx, document, d)
	if err != nil {
		return nil, err
	}
	return ssmproto.NewPort(conn, ssmproto.MuxConfig{KeepAlive: c.Options.KeepAlive, Buffer: c.Options.Buffer}), nil
}

// OpenConn is Open without opening a connection in the session.
func (c *Client) OpenConn(ctx context.Context, document string, d Destination) (*ssmproto.Conn, error) {
	return c.OpenSession(ctx, func(id string) (*ssmproto.Conn, error) {
		return c.Options.DialSession(ctx, c.portSession(id, document, d))
	})
}

// OpenShell opens the session that session returns for the machine's id, and
// keeps it alive as o says. ctx and the connect limit apply only to opening.
func (o *Options) OpenShell(ctx context.Context, session func(c *Client, id string) (*awsapi.Session, error)) (stream.Shell, error) {
	limited, limit, stop := o.ConnectLimit(ctx)
	defer stop()
	c, err := o.NewClient(ctx, limited, limit)
	defer c.Warm.Drop()
	if err != nil {
		return nil, err
	}
	conn, err := c.OpenSession(limited, func(id string) (*ssmproto.Conn, error) {
		s, err := session(c, id)
		if err != nil {
			return nil, err
		}
		return o.DialSession(limited, s)
	})
	if err != nil {
		return nil, err
	}
	if o.KeepAlive > 0 {
		go conn.KeepAlive(o.KeepAlive)
	}
	return conn, nil
}

// OpenSession opens a session with dial, which gets the machine's id. If the
// machine does not answer, OpenSession looks the name up again, since it may
// now resolve to another machine. If it does not, the new answer may still
// explain the error.
func (c *Client) OpenSession(ctx context.Context, dial func(id string) (*ssmproto.Conn, error)) (*ssmproto.Conn, error) {
	m := c.Machine()
	conn, err := dial(m.ID)
	away := IsCode(err, "TargetNotConnected")
	if !away && !(m.cached && IsCode(err, "AccessDeniedException")) {
		return conn, c.named(err)
	}
	again, lookErr := c.LookUp(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, c.named(awsapi.CauseOf(ctx, err))
	case lookErr != nil && c.Target.ID == "":
		return nil, lookErr
	case lookErr != nil || !away && again.ID == m.ID:
		return nil, c.named(err)
	}
	c.mu.Lock()
	c.At = again
	c.mu.Unlock()
	if again.ID != m.ID {
		c.Options.Log.Info("the name leads to another machine now", "id", again.ID, "before", m.ID)
		conn, err = dial(again.ID)
		away = IsCode(err, "TargetNotConnected")
	}
	if away && c.Options.Start && again.Known != nil && startedLately(again.Known) {
		conn, err = c.awaitSession(ctx, again.Known, dial)
		away = IsCode(err, "TargetNotConnected")
	}
	if away {
		inventory.UserCache().Drop(c.cacheKey()...)
		if again.Known != nil {
			err = &AwayError{again.Known, err}
		}
	}
	return conn, c.named(err)
}

// portSession returns a session to d on the machine with that id.
func (c *Client) portSession(id, document string, d Destination) *awsapi.Session {
	parameters := map[string][]string{"portNumber": {d.Port}}
	if d.Host != "" {
		parameters["host"] = []string{d.Host}
	}
	switch {
	case c.Options.Document != "":
		document = c.Options.Document
	case document != "":
	case d.Host != "":
		document = remoteDocument
	default:
		document = portDocument
	}
	return c.NewSession(id, document, parameters)
}

// NewSession returns a session that runs a document on the machine with that
// id. An empty document is the account's default shell document.
func (c *Client) NewSession(id, document string, parameters map[string][]string) *awsapi.Session {
	start := ssm.StartSessionInput{Target: &id, Parameters: parameters}
	if document != "" {
		start.DocumentName = &document
	}
	if c.Options.Reason != "" {
		start.Reason = &c.Options.Reason
	}
	return awsapi.NewSession(c.Config, start)
}

// DialSession opens s and its data channel.
func (o *Options) DialSession(ctx context.Context, s *awsapi.Session) (*ssmproto.Conn, error) {
	s.Log = o.Log
	s.Lingers = func(err error) {
		o.Notice(safetext.Printable(fmt.Sprintf("%s: the session %s could not be ended (%s); AWS ends it when it has been idle", o.Target, s.ID, Cause(err))))
	}
	resumeTimeout := o.ResumeTimeout
	if resumeTimeout == 0 {
		resumeTimeout = -1
	}
	w := awsapi.NewLastWord(s)
	conn, err := ssmproto.Dial(ctx, w, &ssmproto.Config{
		Transport:     awsapi.Transport(&s.Config),
		Endpoint:      s.ExpectedEndpoint(),
		ResumeTimeout: resumeTimeout,
		DataKey:       s.DataKey,
		OnOutage:      o.tellOutage(),
		OnSilence:     o.tellSilence,
		OnRepeat:      o.tellRepeat(),
		Log:           o.Log,
	})
	if err != nil {
		w.Forget()
		return nil, err
	}
	go w.Watch(conn)
	return conn, nil
}
