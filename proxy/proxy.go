// Package proxy is what a user does with ssmpipe: name a target, reach it
// through Session Manager, and pipe a stream to it. It knows AWS's API, and
// nothing of the command line.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Options say what to connect to, and how.
type Options struct {
	Target   string // i-…, mi-… or ecs:CLUSTER_TASKID_RUNTIMEID
	Port     string // on the target
	Document string // "" means AWS-StartSSHSession
	Reason   string // for the account's records; may be empty
	Profile  string // of the AWS configuration; "" means the default
	Region   string // "" means the profile's or the environment's

	ConnectTimeout time.Duration // until the agent is ready; 0 means no limit
	ResumeTimeout  time.Duration // for one outage; 0 means no limit

	// Alone says that the process does nothing else, so that the Go runtime may
	// be set for one stream.
	Alone bool

	Notice func(string) // told one line at a time what a user should know; nil: nobody
	Log    *slog.Logger // nil: nothing
}

// DefaultDocument is the session document that reaches a port for ssh.
const DefaultDocument = "AWS-StartSSHSession"

// noticeAfter is how long an outage lasts before the user is told: the
// service's hourly disconnect is over long before.
const noticeAfter = 3 * time.Second

var errConnectTimeout = errors.New("timed out")

// Stdio connects to the target's port and pipes stdin and stdout over it until
// the far side ends. Its error is for the user's eyes. When ctx ends, Stdio
// ends the session and returns ctx's cause within 2 s.
func Stdio(ctx context.Context, o Options, stdin, stdout *os.File) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var in io.Reader = stdin
	var out io.Writer = stdout
	pipes := openStdio(stdin, stdout)
	if pipes != nil {
		defer pipes.Close()
		in, out = pipes, pipes
	}
	if o.Alone {
		tuneMemory()
	}
	gone, stop := watchGone(stdout)
	defer stop()
	go func() {
		select {
		case <-gone:
			cancel(ErrStdoutClosed)
		case <-ctx.Done():
		}
	}()
	conn, err := o.dial(ctx)
	if err != nil {
		return o.explain(err)
	}
	if o.Alone && pipes != nil {
		tuneScheduler()
	}
	err = serve(ctx, conn, in, out, o.Log)
	conn.Close() // what goes wrong with that, session tells
	return o.explain(err)
}

// dial opens a session and its stream.
func (o *Options) dial(ctx context.Context) (*ssmproto.Conn, error) {
	target, err := resolve(ctx, o.Target)
	if err != nil {
		return nil, err
	}
	ctx, limit, stop := withTimeLimit(ctx, o.ConnectTimeout, fmt.Errorf("%w after %v", errConnectTimeout, o.ConnectTimeout))
	defer stop()
	cfg, warm, err := loadConfig(ctx, o, limit)
	defer warm.drop()
	if err != nil {
		return nil, err
	}
	start := ssm.StartSessionInput{
		Target:       &target,
		DocumentName: aws.String(DefaultDocument),
		Parameters:   map[string][]string{"portNumber": {o.Port}},
	}
	if o.Document != "" {
		start.DocumentName = &o.Document
	}
	if o.Reason != "" {
		start.Reason = &o.Reason
	}
	s := newSession(cfg, start)
	s.log = o.Log
	s.lingers = func(err error) {
		o.Notice(printable(fmt.Sprintf("%s: the session %s could not be ended (%s); AWS ends it when it has been idle", o.Target, s.id, cause(err))))
	}
	resumeTimeout := o.ResumeTimeout
	if resumeTimeout == 0 {
		resumeTimeout = -1
	}
	return ssmproto.Dial(ctx, s, &ssmproto.Config{
		Transport:     transport(&cfg),
		Endpoint:      s.expectedEndpoint(),
		ResumeTimeout: resumeTimeout,
		DataKey:       s.dataKey,
		OnOutage:      o.tellOutage(),
		Log:           o.Log,
	})
}

// tellOutage returns what turns outages into notices: one line when it lasts,
// one when it is over.
func (o *Options) tellOutage() func(ssmproto.Outage) {
	told := false
	return func(out ssmproto.Outage) {
		switch {
		case out.Over && told:
			o.Notice(fmt.Sprintf("%s: connected again after %v", o.Target, out.Lasted.Round(time.Second)))
			told = false
		case !out.Over && !told && out.Lasted >= noticeAfter:
			limit := ""
			if o.ResumeTimeout > 0 {
				limit = fmt.Sprintf(" for up to %v", o.ResumeTimeout)
			}
			o.Notice(printable(fmt.Sprintf("%s: connection lost (%s); trying again%s, nothing is lost",
				o.Target, cause(out.Err), limit)))
			told = true
		}
	}
}
