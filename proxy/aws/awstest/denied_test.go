package awstest

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

func TestDeniedDocuments(t *testing.T) {
	s := nodeServer(t, Config{}, Node{ID: id(1)})
	start := func(document string) error {
		target := id(1)
		_, err := ssm.NewFromConfig(sdk(s, "us-east-1")).StartSession(t.Context(), &ssm.StartSessionInput{Target: &target, DocumentName: &document})
		return err
	}
	s.Deny("AWS-StartPortForwardingSession", "AWS-StartPortForwardingSessionToRemoteHost")
	got := refused(t, "a denied document", start("AWS-StartPortForwardingSession"), "AccessDeniedException", 400)
	if !strings.Contains(got, "ssm:StartSession on resource: arn:aws:ssm:us-east-1::document/AWS-StartPortForwardingSession ") {
		t.Errorf("got %q", got)
	}
	if err := start("AWS-StartSSHSession"); err != nil {
		t.Error(err)
	}
	s.Deny()
	if err := start("AWS-StartPortForwardingSession"); err != nil {
		t.Error(err)
	}
}
