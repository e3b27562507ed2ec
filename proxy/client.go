package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

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
	o      *Options
	target string // as StartSession takes it
	cfg    aws.Config
	warm   *warm // the caller's to drop, also after an error
}

// connectLimit bounds what connecting may take.
func (o *Options) connectLimit(ctx context.Context) (limited context.Context, limit *timeLimit, stop func()) {
	return withTimeLimit(ctx, o.ConnectTimeout, fmt.Errorf("%w after %v", errConnectTimeout, o.ConnectTimeout))
}

// newClient reads the configuration and fetches credentials within limited.
// Credentials that are fetched again, later, end with ctx.
func (o *Options) newClient(ctx, limited context.Context, limit *timeLimit) (*client, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &client{o: o, warm: &warm{}}
	var err error
	if c.target, err = resolve(limited, o.Target); err != nil {
		return c, err
	}
	c.cfg, c.warm, err = loadConfig(ctx, limited, o, limit)
	return c, err
}

// open starts a session to d. The document is the one that the user has named,
// or else document, or else the one that d needs.
func (c *client) open(ctx context.Context, document string, d destination) (*ssmproto.Conn, error) {
	o := c.o
	start := ssm.StartSessionInput{
		Target:     &c.target,
		Parameters: map[string][]string{"portNumber": {d.port}},
	}
	if d.host != "" {
		start.Parameters["host"] = []string{d.host}
	}
	switch {
	case o.Document != "":
		document = o.Document
	case document != "":
	case d.host != "":
		document = remoteDocument
	default:
		document = portDocument
	}
	start.DocumentName = &document
	if o.Reason != "" {
		start.Reason = &o.Reason
	}
	s := newSession(c.cfg, start)
	s.log = o.Log
	s.lingers = func(err error) {
		o.Notice(printable(fmt.Sprintf("%s: the session %s could not be ended (%s); AWS ends it when it has been idle", o.Target, s.id, cause(err))))
	}
	resumeTimeout := o.ResumeTimeout
	if resumeTimeout == 0 {
		resumeTimeout = -1
	}
	return ssmproto.Dial(ctx, s, &ssmproto.Config{
		Transport:     transport(&c.cfg),
		Endpoint:      s.expectedEndpoint(),
		ResumeTimeout: resumeTimeout,
		DataKey:       s.dataKey,
		OnOutage:      o.tellOutage(),
		Log:           o.Log,
	})
}
