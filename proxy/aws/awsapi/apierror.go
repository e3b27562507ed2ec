package awsapi

import (
	"errors"
	"slices"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// NextForCode returns what to do about one of the service's error codes.
func NextForCode(code string) string {
	switch code {
	case "TargetNotConnected":
		return "check that it is running, that its SSM agent has network access and an instance profile, and that the region and account are right"
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation":
		return "ask for the IAM permission that it names"
	case "InvalidDocument":
		return "check --document and the region"
	case "InvalidParameters":
		return "check the host and port (AWS's document needs a host of at least three characters), or --parameters"
	case "ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded":
		return "too many calls in this account; try again later"
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired":
		return "the credentials have expired: log in again"
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken":
		return "check the credentials, and this machine's clock"
	}
	return ""
}

// Cause shortens an SDK error to what the service said, or to what kept the
// call from reaching it.
func Cause(err error) string {
	var (
		api  smithy.APIError
		send *smithyhttp.RequestSendError
		op   *smithy.OperationError
	)
	switch {
	case errors.As(err, &api) && api.ErrorMessage() != "":
		return safetext.Said(api.ErrorCode() + ": " + api.ErrorMessage())
	case errors.As(err, &api):
		return safetext.Said(api.ErrorCode())
	case errors.As(err, &send):
		return safetext.Said(send.Err.Error())
	case errors.As(err, &op):
		return safetext.Said(op.Operation() + ": " + op.Err.Error())
	}
	return safetext.Said(err.Error())
}

// IsCode reports whether err is the service's error with that code.
func IsCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// Denied reports whether err is about a missing permission.
func Denied(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains([]string{
		"UnauthorizedOperation", "AccessDeniedException", "AccessDenied",
		"AuthException", // EC2 Instance Connect's
	}, api.ErrorCode())
}
