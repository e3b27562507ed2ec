package aws

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// TestKeysOfTheEnvironment: what a process has from there cannot be renewed.
func TestKeysOfTheEnvironment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	err := &smithy.GenericAPIError{Code: "ExpiredTokenException"}
	if next := (&machine.Options{Driver: Driver{}}).Next(err); !strings.Contains(next, "from the environment") {
		t.Error(next)
	}
	if next := (&machine.Options{Driver: Driver{}, Account: driver.Account{Profile: "p"}}).Next(err); strings.Contains(next, "from the environment") {
		t.Error(next)
	}
}

// TestCredentialsTextIsCut: the reason why there are none may be a program's
// whole output.
func TestCredentialsTextIsCut(t *testing.T) {
	err := &awsapi.CredentialsError{Err: errors.New(strings.Repeat("ß", 100_000))}
	text := Driver{}.Explain(err, &driver.Account{}).Cause
	if n := len([]rune(text)); n > safetext.MaxSaid+50 || !strings.HasPrefix(text, "no credentials: ß") {
		t.Errorf("%d characters: %.900q", n, text)
	}
}
