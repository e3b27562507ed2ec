package examine

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// documentName returns the name of the session's document.
func (e *examination) documentName() string { return cmp.Or(e.Document, e.sshDocument) }

// openSession opens a session as "ssmpipe proxy" does. The next checks report how
// far it got.
func (e *examination) openSession(ctx context.Context) driver.Finding {
	e.session, e.opening = e.Doctor.Open(ctx)
	err, called := e.api.of("StartSession")
	e.opened = time.Since(e.api.began)
	switch {
	case err == nil && called:
		return ok("%s, with %s", e.api.id, e.documentName())
	case awsapi.Denied(err):
		return e.lacking(driver.StatusFailed, "ssm:StartSession", "everything", err, e.targetARN(), e.documentARN(e.documentName()))
	case err == nil:
		err = e.opening
	}
	return e.problem(driver.StatusFailed, err)
}

func (e *examination) dataChannel(context.Context) driver.Finding {
	err := e.opening
	var upgrade *ssmproto.UpgradeError
	var handshake *ssmproto.HandshakeError
	var closed *ssmproto.ClosedError
	switch {
	case err == nil, errors.As(err, &handshake), errors.As(err, &closed):
		return ok("open")
	case errors.As(err, &upgrade) && upgrade.Status == http.StatusForbidden:
		return e.lacking(driver.StatusFailed, "ssmmessages:OpenDataChannel", "everything", err, e.sessionARN())
	}
	return e.problem(driver.StatusFailed, err)
}

func (e *examination) handshake(context.Context) driver.Finding {
	if err := e.opening; err != nil {
		f := e.problem(driver.StatusFailed, err)
		f.Remedy = cmp.Or(f.Remedy, "update the SSM agent on the target if it is old, and try again")
		return f
	}
	version := ""
	if agent, ok := e.session.(interface{ AgentVersion() string }); ok {
		version = agent.AgentVersion()
	}
	return ok("agent %s, ready after %d ms", version, e.opened.Milliseconds())
}

// resumption tries the call that resumes a session after an outage, and discards
// the result.
func (e *examination) resumption(ctx context.Context) driver.Finding {
	_, err := ssm.NewFromConfig(e.cfg).ResumeSession(ctx, &ssm.ResumeSessionInput{SessionId: &e.api.id})
	if err != nil && !awsapi.Denied(err) && e.session.Err() != nil {
		return skipped("the session has ended")
	}
	return e.tried("ssm:ResumeSession", driver.StatusFailed, "resuming sessions after the hourly disconnect and after outages",
		err, func() []string { return []string{e.sessionARN()} })
}

// termination ends the session, as every command does.
func (e *examination) termination(context.Context) driver.Finding {
	if e.session != nil {
		e.session.Close()
	}
	err, called := e.api.of("TerminateSession")
	if !called {
		return skipped("the session has ended by itself")
	}
	return e.tried("ssm:TerminateSession", driver.StatusWarning, "leaving no session behind",
		err, func() []string { return []string{e.sessionARN()} })
}
