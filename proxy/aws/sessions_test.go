package aws

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// TestWhoseSession: a session is one's own whether or not the service writes its
// owner with the prefix of an ARN.
func TestWhoseSession(t *testing.T) {
	const me, you = "arn:aws:iam::123456789012:user/me", "arn:aws:iam::123456789012:user/you"
	for _, tt := range []struct {
		owner, me string
		foreign   bool
	}{
		{me, me, false},
		{strings.TrimPrefix(me, "arn:"), me, false},
		{you, me, true},
		{"", me, true},
		{you, "", false}, // all were asked for
	} {
		if got := (&service{}).session(&ssmtypes.Session{Owner: aws.String(tt.owner)}, tt.me); got.Foreign != tt.foreign {
			t.Errorf("%q for %q: foreign %v", tt.owner, tt.me, got.Foreign)
		}
	}
}
