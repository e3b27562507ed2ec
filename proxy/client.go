package proxy

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
	sshDocument    = "AWS-StartSSHSession"
	portDocument   = "AWS-StartPortForwardingSession"
	remoteDocument = "AWS-StartPortForwardingSessionToRemoteHost"
)

// destination is a port of the target, or of a host that it reaches.
type destination struct {
	host string // "" is the target itself
	port string
}

func (d destination) String() string {
	if d.host == "" {
		return net.JoinHostPort("localhost", d.port)
	}
	return net.JoinHostPort(d.host, d.port)
}

// client opens sessions to one target, with one AWS configuration for all.
type client struct {
	o       *Options
	t       target
	cfg     aws.Config
	account string
	warm    *awsapi.Warm // the caller's to drop, also after an error
	limit   *ask.Limit   // of connecting, once the machine is known; else nil

	mu    sync.Mutex
	m     machine    // what the target leads to
	found *foundTask // what was asked of it, if it is a container; nil: nothing
}

// connectLimit bounds what connecting may take.
func (o *Options) connectLimit(ctx context.Context) (limited context.Context, limit *ask.Limit, stop func()) {
	return ask.WithLimit(ctx, o.ConnectTimeout, fmt.Errorf("%w after %v", errConnectTimeout, o.ConnectTimeout))
}

// configure reads the configuration and fetches credentials within limited.
// Credentials that are fetched again, later, end with ctx.
func (o *Options) configure(ctx, limited context.Context) (*client, error) {
	o.fill()
	c := &client{o: o, warm: &awsapi.Warm{}}
	var err error
	if c.t, err = parseTarget(o.Target, o.StripSuffix); err != nil {
		return c, err
	}
	if c.t.region != "" {
		o.Region = c.t.region
	}
	c.cfg, c.account, c.warm, err = awsapi.Load(ctx, limited, o.account())
	return c, err
}

// newClient is configure for a machine that is found, and started if o says
// so.
func (o *Options) newClient(ctx, limited context.Context, limit *ask.Limit) (*client, error) {
	c, err := o.configure(ctx, limited)
	if err != nil {
		return c, err
	}
	if c.m, err = c.resolve(limited); err != nil {
		return c, err
	}
	return c, c.awake(ctx, limit)
}

// awake starts the machine if it is known to be stopped and is to be started.
func (c *client) awake(ctx context.Context, limit *ask.Limit) error {
	if c.m.known == nil {
		return nil
	}
	c.limit = limit
	if c.o.Start && c.m.known.State == "running" && !c.m.known.Online() && startedLately(c.m.known) {
		return c.named(c.start(ctx, limit, c.m.known))
	}
	switch c.m.known.State {
	case "stopped", "stopping", "pending":
		if !c.o.Start {
			return c.named(&awayError{known: c.m.known})
		}
		return c.named(c.start(ctx, limit, c.m.known))
	}
	return nil
}

// named adds the id of the machine that err is about.
func (c *client) named(err error) error {
	if id := c.machine().id; err != nil && id != c.o.Target {
		return &machineError{id, err}
	}
	return err
}

func (c *client) machine() machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m
}

// open starts a session to d. The document is the one that the user has named,
// or else document, or else the one that d needs.
func (c *client) open(ctx context.Context, document string, d destination) (stream.Port, error) {
	conn, err := c.openConn(ctx, document, d)
	if err != nil {
		return nil, err
	}
	return ssmproto.NewPort(conn, ssmproto.MuxConfig{KeepAlive: c.o.KeepAlive, Buffer: c.o.buffer}), nil
}

// openConn is open without connections.
func (c *client) openConn(ctx context.Context, document string, d destination) (*ssmproto.Conn, error) {
	return c.openSession(ctx, func(id string) (*ssmproto.Conn, error) {
		return c.o.dialSession(ctx, c.portSession(id, document, d))
	})
}

// openSession opens a session by dial, which gets the machine's id. A machine
// that does not answer is looked up again: its name may lead elsewhere by now,
// and if not there is more to say of it than that.
func (c *client) openSession(ctx context.Context, dial func(id string) (*ssmproto.Conn, error)) (*ssmproto.Conn, error) {
	m := c.machine()
	conn, err := dial(m.id)
	away := isCode(err, "TargetNotConnected")
	if !away && !(m.cached && isCode(err, "AccessDeniedException")) {
		return conn, c.named(err)
	}
	again, lookErr := c.lookUp(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, c.named(awsapi.CauseOf(ctx, err))
	case lookErr != nil && c.t.id == "":
		return nil, lookErr
	case lookErr != nil || !away && again.id == m.id:
		return nil, c.named(err)
	}
	c.mu.Lock()
	c.m = again
	c.mu.Unlock()
	if again.id != m.id {
		c.o.Log.Info("the name leads to another machine now", "id", again.id, "before", m.id)
		conn, err = dial(again.id)
		away = isCode(err, "TargetNotConnected")
	}
	if away && c.o.Start && again.known != nil && startedLately(again.known) {
		conn, err = c.awaitSession(ctx, again.known, dial)
		away = isCode(err, "TargetNotConnected")
	}
	if away {
		inventory.UserCache().Drop(c.cacheKey()...)
		if again.known != nil {
			err = &awayError{again.known, err}
		}
	}
	return conn, c.named(err)
}

// portSession is a session to d on the machine of that id.
func (c *client) portSession(id, document string, d destination) *awsapi.Session {
	parameters := map[string][]string{"portNumber": {d.port}}
	if d.host != "" {
		parameters["host"] = []string{d.host}
	}
	switch {
	case c.o.Document != "":
		document = c.o.Document
	case document != "":
	case d.host != "":
		document = remoteDocument
	default:
		document = portDocument
	}
	return c.newSession(id, document, parameters)
}

// awsapi.NewSession is a session of a document on the machine of that id. "" is the
// account's own, of a shell.
func (c *client) newSession(id, document string, parameters map[string][]string) *awsapi.Session {
	start := ssm.StartSessionInput{Target: &id, Parameters: parameters}
	if document != "" {
		start.DocumentName = &document
	}
	if c.o.Reason != "" {
		start.Reason = &c.o.Reason
	}
	return awsapi.NewSession(c.cfg, start)
}

// dialSession opens s and its stream.
func (o *Options) dialSession(ctx context.Context, s *awsapi.Session) (*ssmproto.Conn, error) {
	s.Log = o.Log
	s.Lingers = func(err error) {
		o.Notice(safetext.Printable(fmt.Sprintf("%s: the session %s could not be ended (%s); AWS ends it when it has been idle", o.Target, s.ID, cause(err))))
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
