package awstest

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func send(t *testing.T, s *Server, id string, parameters map[string][]string) (string, error) {
	t.Helper()
	answer, err := ssm.NewFromConfig(sdk(s, "us-east-1")).SendCommand(t.Context(), &ssm.SendCommandInput{
		DocumentName: aws.String("AWS-RunShellScript"), InstanceIds: []string{id}, Parameters: parameters,
	})
	if err != nil {
		return "", err
	}
	return *answer.Command.CommandId, nil
}

func TestCommandsRunOnNodes(t *testing.T) {
	scripts := make(chan string)
	s := nodeServer(t, Config{},
		Node{ID: "mi-1", Run: func(ctx context.Context, script string) (string, string, int) {
			scripts <- script
			scripts <- ""
			if strings.HasPrefix(script, "exit") {
				return "", strings.Repeat("e", 9000), 3
			}
			return strings.Repeat("o", 25_000), "", 0
		}},
		Node{ID: "i-2", Run: func(ctx context.Context, script string) (string, string, int) {
			<-ctx.Done()
			return "", "", 1
		}})
	client := ssm.NewFromConfig(sdk(s, "us-east-1"))
	look := func(command, id string) *ssm.GetCommandInvocationOutput {
		t.Helper()
		answer, err := client.GetCommandInvocation(t.Context(), &ssm.GetCommandInvocationInput{CommandId: &command, InstanceId: &id})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for script, want := range map[string]ssm.GetCommandInvocationOutput{
		"echo\ntrue": {Status: "Success", ResponseCode: 0, StandardOutputContent: aws.String(strings.Repeat("o", 24_000)), StandardErrorContent: aws.String("")},
		"exit 3":     {Status: "Failed", ResponseCode: 3, StandardOutputContent: aws.String(""), StandardErrorContent: aws.String(strings.Repeat("e", 8000))},
	} {
		command, err := send(t, s, "mi-1", map[string][]string{"commands": strings.Split(script, "\n")})
		if err != nil {
			t.Fatal(err)
		}
		if got := <-scripts; got != script {
			t.Errorf("ran %q, want %q", got, script)
		}
		if got := look(command, "mi-1"); got.Status != "InProgress" || got.ResponseCode != -1 {
			t.Errorf("while it runs it is %s, %d", got.Status, got.ResponseCode)
		}
		<-scripts
		var got *ssm.GetCommandInvocationOutput
		eventually(t, "it ends", func() bool { got = look(command, "mi-1"); return got.Status != "InProgress" })
		if got.Status != want.Status || got.ResponseCode != want.ResponseCode ||
			len(*got.StandardOutputContent) != len(*want.StandardOutputContent) || len(*got.StandardErrorContent) != len(*want.StandardErrorContent) {
			t.Errorf("%q: %s, %d, %d and %d bytes", script, got.Status, got.ResponseCode, len(*got.StandardOutputContent), len(*got.StandardErrorContent))
		}
	}
	command, err := send(t, s, "i-2", map[string][]string{"commands": {"sleep 9"}, "executionTimeout": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its time is over", func() bool { return look(command, "i-2").Status == types.CommandInvocationStatusTimedOut })
	_, err = client.GetCommandInvocation(t.Context(), &ssm.GetCommandInvocationInput{CommandId: &command, InstanceId: aws.String("mi-1")})
	refused(t, "a command of another node", err, "InvocationDoesNotExist", 400)
	if _, err = send(t, s, "i-2", map[string][]string{"commands": {"sleep 9"}}); err != nil {
		t.Error(err)
	} // and the server's end ends it
}

func TestSendCommandRefuses(t *testing.T) {
	run := func(context.Context, string) (string, string, int) { t.Error("it runs"); return "", "", 0 }
	s := nodeServer(t, Config{Config: ssmtest.Config{Regions: []string{"eu-west-1"}}}, Node{ID: "i-1"}, Node{ID: "i-2", Run: run, Node: ssmtest.Node{NotConnected: true}}, Node{ID: "i-3", Run: run},
		Node{ID: "i-4", Run: run, Region: "eu-west-1"}, Node{ID: "i-5", Run: run, PlatformType: "Windows"})
	good := map[string][]string{"commands": {"true"}}
	for _, test := range []struct {
		id         string
		parameters map[string][]string
		code       string
	}{
		{"i-1", good, "InvalidInstanceId"}, // it takes none
		{"i-2", good, "InvalidInstanceId"},
		{"i-4", good, "InvalidInstanceId"},
		{"i-9", good, "InvalidInstanceId"},
		{"i-5", good, "UnsupportedPlatformType"},
		{"i-3", nil, "InvalidParameters"},
		{"i-3", map[string][]string{"commands": {"true"}, "shell": {"bash"}}, "InvalidParameters"},
		{"i-3", map[string][]string{"commands": {"true"}, "executionTimeout": {"soon"}}, "InvalidParameters"},
	} {
		_, err := send(t, s, test.id, test.parameters)
		refused(t, test.id, err, test.code, 400)
	}
	_, err := ssm.NewFromConfig(sdk(s, "us-east-1")).SendCommand(t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("mine"), InstanceIds: []string{"i-3"}})
	refused(t, "another document", err, "InvalidDocument", 400)
	s.DenyActions("ssm:SendCommand")
	_, err = send(t, s, "i-3", good)
	if got := refused(t, "not allowed", err, "AccessDeniedException", 400); !strings.Contains(got, "arn:aws:ssm:us-east-1::document/AWS-RunShellScript ") {
		t.Errorf("not allowed: %q", got)
	}
}
