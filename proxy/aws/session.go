package aws

import (
	"context"
	"maps"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// AWS's session documents.
const (
	SSHDocument         = "AWS-StartSSHSession"
	portDocument        = "AWS-StartPortForwardingSession"
	remoteDocument      = "AWS-StartPortForwardingSessionToRemoteHost"
	commandDocument     = "AWS-StartNonInteractiveCommand"
	interactiveDocument = "AWS-StartInteractiveCommand"
)

// OpenPort implements driver.Service.
func (s *service) OpenPort(ctx context.Context, id string, r driver.PortRequest) (stream.Port, error) {
	parameters := map[string][]string{"portNumber": {r.To.Port}}
	if r.To.Host != "" {
		parameters["host"] = []string{r.To.Host}
	}
	document := portDocument
	switch {
	case r.Document != "":
		document = r.Document
	case r.To.Host != "":
		document = remoteDocument
	case r.SSH:
		document = SSHDocument
	}
	conn, err := Dial(ctx, s.newSession(id, document, parameters, r.Reason), &r.SessionOptions)
	if err != nil {
		return nil, err
	}
	return ssmproto.NewPort(conn, ssmproto.MuxConfig{KeepAlive: r.KeepAlive, Buffer: r.Buffer}), nil
}

// OpenShell implements driver.Service.
func (s *service) OpenShell(ctx context.Context, id string, r driver.ShellRequest) (*driver.Shell, error) {
	var session *awsapi.Session
	if isContainer(id) {
		var err error
		if session, err = s.containerSession(id, &r); err != nil {
			return nil, err
		}
	} else {
		document, parameters := shellDocument(&r)
		session = s.newSession(id, document, parameters, r.Reason)
	}
	conn, err := Dial(ctx, session, &r.SessionOptions)
	if err != nil {
		return nil, err
	}
	if r.KeepAlive > 0 {
		go conn.KeepAlive(r.KeepAlive)
	}
	return &driver.Shell{Shell: conn, NoStatus: isContainer(id)}, nil
}

// shellDocument returns the document that runs what r asks for, and its
// parameters. An empty document is the account's default shell document. A
// document named by the user gets no parameters but the command and those that
// the user passes.
func shellDocument(r *driver.ShellRequest) (document string, parameters map[string][]string) {
	if r.Command == "" {
		return r.Document, r.Parameters
	}
	parameters = map[string][]string{"command": {r.Command}}
	switch {
	case r.Document != "":
		document = r.Document
	case r.Terminal:
		document = interactiveDocument
	default:
		document = commandDocument
		parameters["separateOutputStream"] = []string{"true"}
	}
	maps.Copy(parameters, r.Parameters)
	return document, parameters
}

// newSession returns a session that runs a document on the machine with that id.
func (s *service) newSession(id, document string, parameters map[string][]string, reason string) *awsapi.Session {
	start := ssm.StartSessionInput{Target: &id, Parameters: parameters}
	if document != "" {
		start.DocumentName = &document
	}
	if reason != "" {
		start.Reason = &reason
	}
	return awsapi.NewSession(s.cfg, start)
}

// Dial opens s and its data channel. The caller must close the Conn, which ends
// the session.
func Dial(ctx context.Context, s *awsapi.Session, o *driver.SessionOptions) (*ssmproto.Conn, error) {
	s.Log = o.Log
	s.Lingers = func(err error) { o.Lingers(s.ID, err) }
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
		OnOutage:      func(out ssmproto.Outage) { o.OnOutage(stream.Outage(out)) },
		OnSilence:     func(silence ssmproto.Silence) { o.OnSilence(stream.Silence(silence)) },
		OnRepeat:      func(r ssmproto.Repeat) { o.OnRepeat(stream.Repeat(r)) },
		Log:           o.Log,
	})
	if err != nil {
		w.Forget()
		return nil, err
	}
	go w.Watch(conn)
	return conn, nil
}
