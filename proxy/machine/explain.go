package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// ErrTold says that something failed and that Notice has already reported it.
var ErrTold = errors.New("not all of it worked")

// Error describes what went wrong with a target and what the user can do about
// it.
type Error struct {
	Target string // "" if the error is not about a target
	Err    error
	Next   string // the next step; may be ""
}

// Error returns one line: the target, the cause in the service's own words, and
// the next step. If there are alternatives to choose from, each follows on its
// own line.
func (e *Error) Error() string {
	text := Cause(e.Err)
	if e.Target != "" {
		text = e.Target + ": " + text
	}
	if e.Next != "" {
		text = strings.TrimRight(text, ". ") + "; " + e.Next
	}
	text = safetext.Printable(text)
	var several *SeveralError
	if errors.As(e.Err, &several) {
		text += ":\n    " + strings.Join(several.Lines(), "\n    ")
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// DestinationError says which of several destinations an error is about.
type DestinationError struct {
	To  Destination
	Err error
}

func (e *DestinationError) Error() string { return e.To.String() + ": " + e.Err.Error() }
func (e *DestinationError) Unwrap() error { return e.Err }

// MachineError says which machine the target resolved to.
type MachineError struct {
	ID string
	error
}

func (e *MachineError) Unwrap() error { return e.error }

// Cause shortens an SDK error to what the service said, or to what kept the
// call from reaching it. It truncates outside text to a readable length and
// removes the final full stop, so that more text can follow.
func Cause(err error) string {
	var (
		foreign *awsapi.ForeignError
		via     *ssmproto.ProxyError
		ended   *EndedError
		gone    *ssmproto.GoneError
		busy    *awsapi.BusyError
		to      *DestinationError
		away    *AwayError
		list    *inventory.Error
		creds   *awsapi.CredentialsError
		helper  *awsapi.HelperError
		resume  *ssmproto.ResumeError
	)
	switch {
	case errors.As(err, &ended):
		return ended.Error()
	case errors.As(err, &gone):
		return gone.Error()
	case errors.As(err, &busy):
		return busy.Error()
	case errors.As(err, &to):
		return to.To.String() + ": " + Cause(to.Err)
	case errors.As(err, &away):
		return away.Error()
	case errors.As(err, &list):
		var parts []string
		if list.EC2 != nil {
			parts = append(parts, inventory.EC2Action+": "+Cause(list.EC2))
		}
		if list.SSM != nil {
			parts = append(parts, inventory.SSMAction+": "+Cause(list.SSM))
		}
		return strings.Join(parts, "; ")
	case errors.As(err, &creds) && errors.As(err, &helper):
		return "no credentials: " + helper.Error()
	case errors.As(err, &creds):
		return "no credentials: " + Cause(creds.Err)
	case errors.As(err, &resume):
		return fmt.Sprintf("could not resume the session within %v: %s", resume.After.Round(time.Second), Cause(resume.Err))
	case errors.As(err, &foreign):
		return foreign.Error()
	case errors.As(err, &via):
		return via.Error()
	}
	return awsapi.Cause(err)
}

// Explain adds the target and the next step to err.
func (o *Options) Explain(err error) error {
	if err == nil {
		return nil
	}
	name := o.Target
	var at *MachineError
	if errors.As(err, &at) {
		name = fmt.Sprintf("%s (%s)", name, at.ID)
	}
	return &Error{Target: name, Err: err, Next: o.Next(err)}
}

func (o *Options) Next(err error) string {
	var (
		away    *AwayError
		none    *noMachineError
		several *SeveralError
		execute *executeError
		channel *awsapi.ChannelError
	)
	switch {
	case errors.As(err, &channel):
		return channel.Next()
	case errors.Is(err, ErrAgentDecides):
		return "trust the machine no further, or name localPortNumber among the parameters if the document takes it"
	case errors.Is(err, awsapi.ErrNotBegun):
		return "try again, and check AWS_ENDPOINT_URL if that is set"
	case errors.As(err, &execute):
		return execute.next()
	case errors.As(err, &away):
		return away.next(o.Target)
	case errors.As(err, &none):
		return none.next()
	case errors.Is(err, ErrNoMachine):
		return ""
	case errors.As(err, &several):
		return "choose by id, or with --pick newest, oldest or any"
	}
	var api smithy.APIError
	if awsapi.BadCredentials(err) && o.Profile == "" && os.Getenv("AWS_ACCESS_KEY_ID") != "" {
		return "the keys are those of the environment, which do not change while this runs: set them again and start anew, or unset them and give --profile"
	}
	if errors.As(err, &api) {
		if next := awsapi.NextForCode(api.ErrorCode()); next != "" {
			return next
		}
	}
	var (
		busy     *awsapi.BusyError
		upgrade  *ssmproto.UpgradeError
		sso      *ssocreds.InvalidTokenError
		creds    *awsapi.CredentialsError
		helper   *awsapi.HelperError
		profile  *awsapi.NoProfileError
		setting  *awsapi.SettingError
		resume   *ssmproto.ResumeError
		dns      *net.DNSError
		op       *net.OpError
		closed   *ssmproto.ClosedError
		handshak *ssmproto.HandshakeError
	)
	switch {
	case errors.As(err, &busy):
		return "try again in a while"
	case errors.As(err, &profile):
		return profile.Next()
	case errors.As(err, &setting):
		return "correct it, or unset it"
	case errors.As(err, &helper):
		return "run the profile's credential_process by hand and see what it says"
	case errors.Is(err, ask.ErrNoTerminal):
		return "fetch credentials first, for example with \"aws sts get-caller-identity\""
	case errors.As(err, &creds) && TimedOut(err):
		return o.NextAfterTimeout()
	case errors.As(err, &sso), errors.As(err, &creds) && strings.Contains(err.Error(), "SSO"):
		// Errors about an sso-session have no type of their own.
		return "log in with \"aws sso login\""
	case errors.As(err, &creds):
		return "give --profile or AWS_PROFILE, or log in (\"aws sso login\", \"aws configure\")"
	case errors.Is(err, awsapi.ErrNoRegion):
		return "give --region, or set AWS_REGION or the profile's region"
	case errors.Is(err, ErrTarget):
		return ""
	case awsapi.NextForProxy(err) != "":
		return awsapi.NextForProxy(err)
	case errors.As(err, &upgrade) && upgrade.Status == http.StatusForbidden:
		return "allow ssmmessages:OpenDataChannel on the session, and check this machine's clock"
	case stream.Refused(err):
		if o.Host != "" {
			return fmt.Sprintf("check that something listens on %s, as seen from there", Destination{o.Host, o.Port})
		}
		return fmt.Sprintf("check that something listens on port %s there", o.Port)
	case errors.Is(err, ssmproto.ErrSessionEnded), errors.Is(err, ssmproto.ErrGap), errors.As(err, &closed):
		if stream.Forbidden(err) {
			return nextForbidden
		}
		return o.nextSession(err)
	case errors.Is(err, ssmproto.ErrAgentSilent):
		return "check that it runs and is not overloaded, and " + o.Use.again()
	case errors.As(err, &resume) && o.NoFlags:
		return "check the network, and " + o.Use.again()
	case errors.As(err, &resume):
		return "check the network, and " + o.Use.again() + "; --resume-timeout sets how long is tried"
	case errors.As(err, &dns):
		return "check the network and the region's name"
	case errors.As(err, &op) && op.Op != "listen":
		return "check the network and HTTPS_PROXY"
	case errors.As(err, &handshak):
		return "update the SSM agent on the target if it is old, and try again"
	case TimedOut(err):
		return o.NextAfterTimeout()
	}
	return ""
}

func TimedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrConnectTimeout)
}

func (o *Options) NextAfterTimeout() string {
	if o.NoFlags {
		return "check the network and HTTPS_PROXY"
	}
	return "check the network and HTTPS_PROXY; --connect-timeout sets how long is waited"
}

// ErrAgentDecides says that the agent asked for a local end that was not
// requested on this side.
var ErrAgentDecides = errors.New("the agent names another local end than was asked for")
