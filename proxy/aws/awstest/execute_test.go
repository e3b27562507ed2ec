//go:build unix

package awstest

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// bareShell is a Node's Command that runs the same as on any machine.
func bareShell(name string, arg ...string) *exec.Cmd {
	cmd := exec.Command(name, arg...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "PS1=$ ", "ENV="}
	return cmd
}

// granted is a session that has been opened already, and is not resumed.
type granted ssmproto.Grant

func (g granted) Open(context.Context) (ssmproto.Grant, error) { return ssmproto.Grant(g), nil }

func (granted) Resume(context.Context) (ssmproto.Grant, error) {
	return ssmproto.Grant{}, ssmproto.ErrSessionEnded
}

func (granted) Terminate(context.Context) error { return nil }

func TestExecuteCommandRunsInAContainer(t *testing.T) {
	t.Parallel()
	s := nodeServer(t, Config{Config: ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}, NoSignatureCheck: true}})
	task := s.AddTask(Task{Cluster: "web", Containers: []Container{
		{Name: "app", Node: ssmtest.Node{Command: bareShell}},
		{Name: "log", Node: ssmtest.Node{NotConnected: true}},
		{Name: "lost"},
		{Name: "done", Status: "STOPPED"},
	}})
	shut := s.AddTask(Task{Cluster: "web", NoExecuteCommand: true, Containers: []Container{{Name: "app"}}})
	client := ecs.NewFromConfig(sdk(s, "us-east-1"))
	execute := func(task, container, command string) (*ecs.ExecuteCommandOutput, error) {
		in := &ecs.ExecuteCommandInput{Cluster: aws.String("web"), Task: &task, Command: &command, Interactive: true}
		if container != "" {
			in.Container = &container
		}
		return client.ExecuteCommand(t.Context(), in)
	}
	answer, err := execute(task.ID, "app", `sh -c 'test -t 0 && echo "$0"' a\ b`)
	if err != nil {
		t.Fatal(err)
	}
	if *answer.TaskArn != task.ARN() || *answer.ContainerName != "app" || !answer.Interactive || !strings.HasSuffix(*answer.ContainerArn, "/"+task.Containers[0].RuntimeID) {
		t.Errorf("answers %+v", answer)
	}
	session := s.Sessions()[0]
	if session.ID() != *answer.Session.SessionId || !strings.HasPrefix(session.ID(), "ecs-execute-command-") ||
		session.Target() != task.Target(&task.Containers[0]) || session.Document() != "AmazonECS-ExecuteInteractiveCommand" {
		t.Errorf("session %s of %s on %s", session.ID(), session.Document(), session.Target())
	}
	conn, err := ssmproto.Dial(t.Context(), granted{URL: *answer.Session.StreamUrl, Token: *answer.Session.TokenValue}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wait))
	got, err := io.ReadAll(conn)
	if _, ok := conn.ExitStatus(); string(got) != "a b\r\n" || ok || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	s.Reboot(task.Target(&task.Containers[2]))
	for _, test := range []struct{ what, task, container, code, message string }{
		{"no container named", task.ID, "", "InvalidParameterException", "more than one container"},
		{"no such container", task.ID, "x", "InvalidParameterException", "container"},
		{"no such task", "x", "app", "InvalidParameterException", "task"},
		{"not enabled", shut.ID, "", "InvalidParameterException", "execute command was not enabled when the task was run"},
		{"no agent", task.ID, "log", "InvalidParameterException", "execute command was not enabled when the task was run"},
		{"stopped", task.ARN(), "done", "InvalidParameterException", "execute command was not enabled when the task was run"},
		{"agent not connected", task.ID, "lost", "TargetNotConnectedException", ""},
	} {
		_, err := execute(test.task, test.container, "sh")
		if message := refused(t, test.what, err, test.code, 400); !strings.Contains(message, test.message) {
			t.Errorf("%s: %q", test.what, message)
		}
	}
	_, err = client.ExecuteCommand(t.Context(), &ecs.ExecuteCommandInput{Cluster: aws.String("x"), Task: &task.ID, Command: aws.String("sh"), Interactive: true})
	refused(t, "no such cluster", err, "ClusterNotFoundException", 400)
	s.DenyActions("ecs:ExecuteCommand")
	_, err = execute(task.ID, "app", "sh")
	if message := refused(t, "denied", err, "AccessDeniedException", 400); !strings.Contains(message, "ecs:ExecuteCommand on resource: "+(&Task{Region: "us-east-1", Cluster: "web", ID: task.ID}).ARN()) {
		t.Errorf("denied: %q", message)
	}
	if n := len(s.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
}
