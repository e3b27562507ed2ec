package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/quote"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/shell"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Version is the version of AWS's session-manager-plugin that Run emulates. The
// AWS CLI decides by the version how to pass the session on.
const Version = ssmproto.DefaultClientVersion

// ErrPlugin means that the arguments are not those that the AWS CLI passes.
var ErrPlugin = errors.New("not what the AWS CLI passes to its plugin")

// Run does what AWS's session-manager-plugin does with args, the arguments after
// the program's name: it takes over a session that the AWS CLI has started. It
// takes Target, Profile and Region from args, not from o.
//
// Run writes the lines that scripts wait for to stdout, word for word as the
// original does. For an SSH-type session stdout has the stream and nothing else.
// Failures are reported on stderr only, because the type of a session is unknown
// until the agent has answered. Unlike the original, Run also reports failures by
// the exit status.
func Run(ctx context.Context, o machine.Options, args []string, t shell.Terminal) error {
	o.Driver = aws.Driver{}
	o.Fill()
	out := stdio.NewOutput(t.Out)
	switch {
	case len(args) == 0: // the AWS CLI checks that there is a plugin
		fmt.Fprint(out, "\nThe Session Manager plugin was installed successfully. Use the AWS CLI to start a session.\n\n")
		return out.Err()
	case len(args) == 1 && args[0] == "--version":
		fmt.Fprintln(out, Version)
		return out.Err()
	case len(args) < 3:
		name := args[0]
		if !quote.Plain.MatchString(name) {
			name = "" // it may be a response with its token
		}
		fmt.Fprintf(out, "\nUnknown operation %s. \nUse session-manager-plugin --version to check the version.\n\n", name)
		return fmt.Errorf("%w: it passes at least a response, a region and an operation", ErrPlugin)
	}
	call, err := parsePluginCall(args)
	if err != nil {
		return err
	}
	o.Target = cmp.Or(call.request.Target, call.session.SessionID)
	o.Document = call.request.DocumentName
	o.Profile, o.Region = call.profile, call.region
	o.NoFlags = true
	if o.Alone {
		stdio.TuneMemory()
		// If killed, the AWS CLI leaves its plugin, the port and the session behind.
		var stop context.CancelFunc
		ctx, stop = withParent(ctx)
		defer stop()
	}
	conn, given, err := dialGiven(ctx, &o, call)
	if err != nil {
		return o.Explain(err)
	}
	if o.Alone {
		stdio.ReleaseStart()
	}
	o.Host, o.Port = safetext.Said(conn.Property("host")), safetext.Said(conn.Property("portNumber"))
	o.Use = useOf(conn)
	p := &pluginSession{o: &o, conn: conn, given: given, request: &call.request, id: call.session.SessionID, t: t}
	err = p.run(ctx)
	conn.Close() // what goes wrong with that, session tells
	if (ctx.Err() != nil || errors.Is(err, stdio.ErrGone)) && conn.SessionType() != ssmproto.NonInteractiveSession {
		// This is how ssh, and users, end a session that does not end by itself.
		// After any other status the AWS CLI shows our whole command line.
		return nil
	}
	return o.Explain(err)
}

// pluginCall holds what the AWS CLI passes to its plugin.
type pluginCall struct {
	session struct{ SessionID, StreamURL, TokenValue string } // ssm and ecs spell these in different case
	request pluginRequest

	region, profile string
	endpoint        string // of Systems Manager; "" means the region's default
}

// responseVariable is the prefix of the environment variable in which the AWS
// CLI may pass the service's response. Its name is then the argument: any user
// can read a process's arguments, and the response contains the token.
const responseVariable = "AWS_SSM_START_SESSION_RESPONSE"

// parsePluginCall parses the arguments. The oldest AWS CLIs pass only three.
func parsePluginCall(args []string) (*pluginCall, error) {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	c := &pluginCall{region: arg(1), profile: arg(3)}
	if arg(2) != "StartSession" {
		return nil, fmt.Errorf("%w: the operation must be StartSession, not %q", ErrPlugin, arg(2))
	}
	response, inVariable := arg(0), strings.HasPrefix(arg(0), responseVariable)
	if inVariable {
		response = os.Getenv(arg(0))
		os.Unsetenv(arg(0)) // processes that we start do not need it
	}
	switch err := json.Unmarshal([]byte(response), &c.session); {
	case inVariable && response == "":
		return nil, fmt.Errorf("%w: %s is not set", ErrPlugin, arg(0))
	case err != nil:
		return nil, fmt.Errorf("%w: the response to StartSession is not JSON: %v", ErrPlugin, err)
	case c.session.SessionID == "" || c.session.StreamURL == "" || c.session.TokenValue == "":
		return nil, fmt.Errorf("%w: SessionId, StreamUrl or TokenValue is missing from the response to StartSession", ErrPlugin)
	}
	// These arguments are optional, so errors are ignored: some callers pass "".
	c.request.read(arg(4))
	if u, err := url.Parse(arg(5)); err == nil && u.Host != "" && !isECS(u.Hostname()) {
		c.endpoint = u.String()
	}
	// A profile from the environment reaches us through the environment too,
	// where a key takes precedence over the profile, as in the AWS CLI. An AWS
	// CLI that passes the response in a variable passes only the profile from its
	// command line.
	if !inVariable && c.profile == cmp.Or(os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE")) {
		c.profile = ""
	}
	return c, nil
}

// isECS reports whether host is an ECS endpoint. "aws ecs execute-command"
// passes that instead of Systems Manager's.
func isECS(host string) bool {
	return slices.ContainsFunc(strings.Split(host, "."), func(label string) bool { return label == "ecs" || label == "ecs-fips" })
}

// dialGiven opens the stream of a session that the caller has started.
func dialGiven(ctx context.Context, o *machine.Options, call *pluginCall) (*ssmproto.Conn, *awsapi.Session, error) {
	limited, _, stop := o.ConnectLimit(ctx)
	defer stop()
	cfg, err := awsapi.Read(ctx, limited, &o.Account)
	if err != nil {
		return nil, nil, err
	}
	awsapi.SendWhole(&cfg)
	s := awsapi.SessionOf(cfg, call.request.Target, func(context.Context) (awsapi.Begun, error) {
		return awsapi.Begun{ID: call.session.SessionID, URL: call.session.StreamURL, Token: call.session.TokenValue}, nil
	})
	s.Endpoint = call.endpoint
	s.Unsigned = strings.EqualFold(os.Getenv("SSM_PLUGIN_SKIP_CLIENT_CONFIGURE"), "true")
	if _, err := awsapi.Retrieve(ctx, limited, cfg); err != nil {
		if !s.Unsigned && !awsapi.Presigned(call.session.StreamURL) {
			return nil, nil, err
		}
		s.NoAPI = err
	}
	if u, err := s.DataChannelURL(call.session.StreamURL); err == nil {
		s.URL = u // Open reports what is wrong with it, and ends the session
	}
	session := o.Session()
	conn, err := aws.Dial(limited, s, &session)
	return conn, s, err
}

// useOf returns what a session is for.
func useOf(conn *ssmproto.Conn) machine.Use {
	switch {
	case conn.SessionType() == ssmproto.NonInteractiveSession:
		return machine.UseCommand
	case conn.SessionType() != ssmproto.PortSession:
		return machine.UseShell
	case conn.Property("type") == "LocalPortForwarding":
		return machine.UseForward
	}
	return machine.UseStream
}

// errNoRequest means that another session cannot be started, because the
// request for the first one is unknown.
var errNoRequest = errors.New("the AWS CLI did not pass the request")

// another starts a session with the same request as the given one.
func (p *pluginSession) another(ctx context.Context) (stream.Port, error) {
	switch {
	case p.given.NoAPI != nil:
		return nil, p.given.NoAPI
	case !p.request.known:
		return nil, errNoRequest
	}
	start := ssm.StartSessionInput{Target: &p.request.Target, DocumentName: &p.request.DocumentName, Parameters: p.request.Parameters}
	if p.request.Reason != "" {
		start.Reason = &p.request.Reason
	}
	s := awsapi.NewSession(p.given.Config, start)
	s.Endpoint, s.Unsigned = p.given.Endpoint, p.given.Unsigned
	limited, _, stop := p.o.ConnectLimit(ctx)
	defer stop()
	session := p.o.Session()
	conn, err := aws.Dial(limited, s, &session)
	if err != nil {
		return nil, err
	}
	return ssmproto.NewPort(conn, ssmproto.MuxConfig{}), nil
}

// pluginSession is a session served by Run.
type pluginSession struct {
	o     *machine.Options
	conn  *ssmproto.Conn
	given *awsapi.Session // conn's
	id    string
	t     shell.Terminal

	request *pluginRequest
}

// run serves the session until it ends.
func (p *pluginSession) run(ctx context.Context) error {
	kind := p.conn.SessionType()
	if kind == ssmproto.PortSession && p.conn.Property("type") != "LocalPortForwarding" {
		return stdio.Pipe(ctx, p.conn, p.t.In, p.t.Out, p.o.Alone, p.o.Log)
	}
	if kind != ssmproto.PortSession && p.o.KeepAlive > 0 {
		go p.conn.KeepAlive(p.o.KeepAlive)
	}
	p.say("\nStarting session with SessionId: %s\n", p.id)
	var err error
	switch kind {
	case ssmproto.PortSession:
		if text := p.conn.Message(); text != "" {
			p.say("%s\n", safetext.Printable(text))
		}
		err = p.forward(ctx)
	case ssmproto.NonInteractiveSession:
		err = p.command(ctx)
	default:
		t := p.t
		t.Escape = '~' // as AWS's plugin has it since 1.2.835
		if err = shell.Interact(ctx, p.o, p.conn, t); errors.Is(err, shell.ErrLeft) {
			err = nil // after any other status the AWS CLI shows our whole command line
		}
	}
	if reason, told := stream.Reason(err); told {
		p.say("\n\nSessionId: %s : %s\n\n", p.id, safetext.Printable(reason))
	} else {
		p.say("\n\nExiting session with sessionId: %s.\n\n", p.id)
	}
	return err
}

// say writes a line of AWS's plugin. Write errors are ignored: scripts close the
// pipe when they have seen the line that they waited for.
func (p *pluginSession) say(format string, args ...any) {
	fmt.Fprintf(p.t.Out, format, args...)
}

// command shows a command's output as AWS's plugin does: all of it on stdout,
// followed by the exit status as text if the agent reports it. (The document has
// parameters by which scripts can separate the outputs.) It does not become our
// own exit status: the AWS CLI shows our whole command line after any but 0.
func (p *pluginSession) command(ctx context.Context) error {
	var failed shell.StartFailure
	err := shell.Collect(ctx, p.o, p.conn, p.t.Out, io.MultiWriter(&failed, p.t.Out))
	if status, told := p.conn.ExitStatus(); told {
		p.say("EXIT_CODE: %d", status)
	}
	if err == nil && failed.Is() {
		return machine.ErrTold
	}
	return err
}
