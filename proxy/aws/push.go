package aws

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/keys"
)

var (
	errContainer         = errors.New("keys cannot be pushed to containers")
	errNoInstanceConnect = errors.New("EC2 Instance Connect supports only EC2 instances (i-…)")
)

// CanPush implements driver.KeyPusher.
func (s *service) CanPush(id string, way keys.Way) error {
	switch {
	case isContainer(id):
		return errContainer
	case way == keys.InstanceConnect && !strings.HasPrefix(id, "i-"):
		return errNoInstanceConnect
	}
	return nil
}

// PushKey implements driver.KeyPusher.
func (s *service) PushKey(ctx context.Context, id string, k driver.Key) error {
	var err error
	if k.Way == keys.RunCommand {
		err = runCommand(ctx, s.cfg, id, k.User, k.Public)
	} else {
		_, err = ec2instanceconnect.NewFromConfig(s.cfg).SendSSHPublicKey(ctx, &ec2instanceconnect.SendSSHPublicKeyInput{
			InstanceId:     &id,
			InstanceOSUser: &k.User,
			SSHPublicKey:   &k.Public,
		})
		err = awsapi.CauseOf(ctx, err)
	}
	if err != nil {
		return &pushError{k, err}
	}
	return nil
}

// pushError says that a key was not pushed.
type pushError struct {
	key driver.Key
	error
}

func (e *pushError) Unwrap() error { return e.error }

// next returns what the user can do about it, as far as that differs from what
// helps after other calls.
func (e *pushError) next() string {
	var api smithy.APIError
	if !errors.As(e.error, &api) {
		return ""
	}
	switch api.ErrorCode() {
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "AuthException":
		if e.key.Way == keys.RunCommand {
			return "allow ssm:SendCommand on the node and on the document AWS-RunShellScript, and ssm:GetCommandInvocation"
		}
		return "allow ec2-instance-connect:SendSSHPublicKey on the instance, with ec2:osuser " + e.key.User
	case "EC2InstanceStateInvalidException":
		return "the instance must be running: start it, or wait until it is up"
	case "EC2InstanceUnavailableException":
		return "connect again in a moment"
	case "EC2InstanceNotFoundException":
		return "check the region and the account"
	case "EC2InstanceTypeInvalidException", "UnsupportedOperationException":
		return "use --push-key=run-command, or a key that is on the machine already"
	case "InvalidArgsException":
		return "check the user's name and the key"
	case "InvalidInstanceId":
		return "check that the node is running and that its SSM agent is connected"
	case "InvalidDocument", "UnsupportedPlatformType":
		return "--push-key=run-command is for Linux only: leave it out"
	}
	return ""
}
