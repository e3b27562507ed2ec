package machine

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// TestKeysOfTheEnvironment: what a process has from there cannot be renewed.
func TestKeysOfTheEnvironment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	err := &smithy.GenericAPIError{Code: "ExpiredTokenException"}
	if next := (&Options{}).Next(err); !strings.Contains(next, "of the environment") {
		t.Error(next)
	}
	if next := (&Options{Profile: "p"}).Next(err); strings.Contains(next, "of the environment") {
		t.Error(next)
	}
}

// TestTextsAreCut: nothing from outside makes a line without end, or ends it with
// a full stop in its middle.
func TestTextsAreCut(t *testing.T) {
	long := strings.Repeat("ß", 100_000)
	for _, tt := range []struct {
		err  error
		want string // in it
	}{
		{errors.New(long), "ß…; do that"},
		{&awsapi.CredentialsError{Err: errors.New(long)}, "no credentials: ß"},
		{&AwayError{&inventory.Instance{State: "stopped"}, errors.New("TargetNotConnected: i-1 is not connected.")}, "is not connected: it is stopped; do that"},
	} {
		text := (&Error{Target: "web-1", Err: tt.err, Next: "do that"}).Error()
		if n := len([]rune(text)); n > safetext.MaxSaid+50 || !strings.Contains(text, tt.want) {
			t.Errorf("%d characters: %.900q", n, text)
		}
	}
	if text := safetext.Printable(long); len([]rune(text)) > safetext.MaxLine+1 {
		t.Errorf("%d characters", len([]rune(text)))
	}
	var b strings.Builder
	safetext.NewLogger(&b, "\n", -8).Debug("closed", "output", long)
	if n := len([]rune(b.String())); n > safetext.MaxSaid+100 {
		t.Errorf("%d characters in the log", n)
	}
}
