package aws

import (
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
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Explain implements driver.Driver.
func (Driver) Explain(err error, a *driver.Account) driver.Meaning {
	var (
		api    smithy.APIError
		busy   *awsapi.BusyError
		creds  *awsapi.CredentialsError
		resume *ssmproto.ResumeError
		closed *ssmproto.ClosedError
	)
	m := driver.Meaning{
		Cause:         cause(err),
		Next:          next(err, a),
		Answered:      errors.As(err, &api),
		NotConnected:  awsapi.IsCode(err, "TargetNotConnected"),
		Denied:        awsapi.Denied(err),
		Busy:          errors.As(err, &busy),
		NoCredentials: errors.As(err, &creds),
	}
	switch {
	case errors.Is(err, ssmproto.ErrSessionEnded), errors.Is(err, ssmproto.ErrGap), errors.As(err, &closed):
		m.End = driver.Ended
	case errors.Is(err, ssmproto.ErrAgentSilent):
		m.End = driver.Silent
	case errors.As(err, &resume):
		m.End = driver.Unresumed
	}
	return m
}

// cause shortens an error to what the service said, or to what kept the call from
// reaching it. It truncates outside text to a readable length and removes the
// final full stop, so that more text can follow.
func cause(err error) string {
	var (
		foreign *awsapi.ForeignError
		via     *ssmproto.ProxyError
		gone    *ssmproto.GoneError
		busy    *awsapi.BusyError
		list    *inventory.Error
		creds   *awsapi.CredentialsError
		helper  *awsapi.HelperError
		resume  *ssmproto.ResumeError
	)
	switch {
	case errors.As(err, &gone):
		return gone.Error()
	case errors.As(err, &busy):
		return busy.Error()
	case errors.As(err, &list):
		var parts []string
		if list.EC2 != nil {
			parts = append(parts, inventory.EC2Action+": "+cause(list.EC2))
		}
		if list.SSM != nil {
			parts = append(parts, inventory.SSMAction+": "+cause(list.SSM))
		}
		return strings.Join(parts, "; ")
	case errors.As(err, &creds) && errors.As(err, &helper):
		return "no credentials: " + helper.Error()
	case errors.As(err, &creds):
		return "no credentials: " + cause(creds.Err)
	case errors.As(err, &resume):
		return fmt.Sprintf("could not resume the session within %v: %s", resume.After.Round(time.Second), cause(resume.Err))
	case errors.As(err, &foreign):
		return foreign.Error()
	case errors.As(err, &via):
		return via.Error()
	}
	return awsapi.Cause(err)
}

// next returns what the user can do about an error.
func next(err error, a *driver.Account) string {
	var (
		push    *pushError
		channel *awsapi.ChannelError
		execute *executeError
		api     smithy.APIError
	)
	switch {
	case errors.As(err, &push) && push.next() != "":
		return push.next()
	case errors.Is(err, errNoInstanceConnect):
		return "use --push-key=run-command, which needs ssm:SendCommand"
	case errors.Is(err, errContainer):
		return "leave out --push-key"
	case errors.As(err, &channel):
		return channel.Next()
	case errors.Is(err, awsapi.ErrNotBegun):
		return "try again, and check AWS_ENDPOINT_URL if that is set"
	case errors.As(err, &execute):
		return execute.next()
	case awsapi.BadCredentials(err) && a.Profile == "" && os.Getenv("AWS_ACCESS_KEY_ID") != "":
		return "the credentials come from the environment, which cannot change while ssmpipe runs: set them again and restart it, or unset them and give --profile"
	case errors.As(err, &api) && awsapi.NextForCode(api.ErrorCode()) != "":
		return awsapi.NextForCode(api.ErrorCode())
	}
	var (
		busy      *awsapi.BusyError
		upgrade   *ssmproto.UpgradeError
		sso       *ssocreds.InvalidTokenError
		creds     *awsapi.CredentialsError
		helper    *awsapi.HelperError
		profile   *awsapi.NoProfileError
		setting   *awsapi.SettingError
		dns       *net.DNSError
		op        *net.OpError
		handshake *ssmproto.HandshakeError
	)
	switch {
	case errors.As(err, &busy):
		return "try again later"
	case errors.As(err, &profile):
		return profile.Next()
	case errors.As(err, &setting):
		return "correct it, or unset it"
	case errors.As(err, &helper):
		return "run the profile's credential_process by hand and see what it says"
	case errors.Is(err, ask.ErrNoTerminal):
		return "fetch credentials first, for example with \"aws sts get-caller-identity\""
	case errors.As(err, &creds) && driver.TimedOut(err):
		return ""
	case errors.As(err, &sso), errors.As(err, &creds) && strings.Contains(err.Error(), "SSO"):
		// Errors about an sso-session have no type of their own.
		return "log in with \"aws sso login\""
	case errors.As(err, &creds):
		return "give --profile or AWS_PROFILE, or log in (\"aws sso login\", \"aws configure\")"
	case errors.Is(err, awsapi.ErrNoRegion):
		return "give --region, or set AWS_REGION or the profile's region"
	case awsapi.NextForProxy(err) != "":
		return awsapi.NextForProxy(err)
	case errors.As(err, &upgrade) && upgrade.Status == http.StatusForbidden:
		return "allow ssmmessages:OpenDataChannel on the session, and check this machine's clock"
	case stream.Refused(err), errors.As(err, &dns), errors.As(err, &op):
		return ""
	case stream.Forbidden(err):
		return nextForbidden
	case errors.As(err, &handshake):
		return "update the SSM agent on the target if it is old, and try again"
	}
	return ""
}

// nextForbidden is what to do when the agent refuses to forward to a host.
const nextForbidden = "the agent does not forward to loopback or metadata addresses, or to names that resolve to one there, such as the machine's own; for a port of the machine itself give localhost as the host, or none"
