//go:build unix

package shell_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

const dataKeyID = "arn:aws:kms:us-east-1:123456789012:key/00000000-1111-2222-3333-444444444444"

// TestShellEncrypted: where the account asks for it, with the random challenge
// of today's agents and without.
func TestShellEncrypted(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		r := rigtest.NewShells(t, awstest.Config{
			Preferences: fmt.Sprintf(`{"inputs":{"kmsKeyId":%q}}`, dataKeyID),
			Config:      ssmtest.Config{Agent: ssmtest.Agent{NoChallenge: old}},
		})
		s := r.Shell(t)
		s.Does(t, "stty size; echo $((6*7))-é", "42-é")
		r.Cut(ssmtest.CutReset)
		s.Does(t, "echo $((7*7))", "49")
		s.Types(t, "exit\r")
		s.WantEnd(t, r.Server, 0)
		if n := r.Calls("GenerateDataKey"); n != 1 {
			t.Errorf("%d data keys", n)
		}
		got := rigtest.Run(t, r.Exec("sh", "-c", "echo out; echo err >&2; exit 42"), nil)
		if got.Status != 42 || string(got.Stdout) != "out\n" || got.Stderr != "err\n" {
			t.Errorf("%+v", got)
		}
		r.DenyActions("kms:GenerateDataKey")
		got = rigtest.Run(t, r.Exec("true"), nil)
		if got.Status != 1 || !strings.Contains(got.Stderr, "kms:GenerateDataKey") || strings.Count(got.Stderr, "\n") != 1 {
			t.Errorf("%+v", got)
		}
		rigtest.NoSessions(t, r)
	}
}

// newContainers adds tasks to r: one with one container, one with two, and some
// that lack something.
func newContainers(t *testing.T, cfg awstest.Config) (r *rigtest.Shells, first awstest.Task) {
	r = rigtest.NewShells(t, cfg)
	node := ssmtest.Node{Command: r.Far}
	one := []awstest.Container{{Name: "app", Node: node}}
	first = r.AddTask(awstest.Task{Cluster: "web_x", ID: "aa11", Containers: one})
	r.AddTask(awstest.Task{Cluster: "web_x", ID: "bb22", Containers: []awstest.Container{{Name: "proxy", Node: node}, {Name: "app", Node: node}}})
	r.AddTask(awstest.Task{Cluster: "web_x", ID: "cc33", Containers: one, NoExecuteCommand: true})
	r.AddTask(awstest.Task{Cluster: "web_x", ID: "dd44", Containers: []awstest.Container{{Name: "app", Node: ssmtest.Node{NotConnected: true}}}})
	return r, first
}

func TestContainer(t *testing.T) {
	t.Parallel()
	r, _ := newContainers(t, awstest.Config{Preferences: fmt.Sprintf(`{"inputs":{"kmsKeyId":%q}}`, dataKeyID)})
	s := rigtest.OnScreen(t, r.Command("shell", "ecs:web_x/aa11"))
	s.Sees(t, 0, "$ ")
	s.Does(t, `until [ "$(stty size)" = "30 100" ]; do sleep .05; done; echo si"ze"d`, "sized")
	r.Cut(ssmtest.CutBye)
	s.Does(t, "echo $((6*7))", "42")
	s.Types(t, "exit\r")
	s.WantEnd(t, r.Server, 0)
	if p := r.Sessions()[0].Parameters()["command"]; len(p) != 1 || p[0] != "/bin/sh" {
		t.Errorf("it runs %q", p)
	}
	if n := r.Calls("StartSession"); n != 0 {
		t.Errorf("StartSession was called %d times", n)
	}

	// By the name of one of two containers, and by what the service calls it.
	runtime := r.Sessions()[0].Target()
	for _, target := range []string{"ecs:web_x/bb22/app", runtime} {
		got := rigtest.Run(t, r.Command("exec", target, "sh", "-c", "echo out; echo err >&2; exit 3"), nil)
		if got.Status != 0 || string(got.Stdout) != "out\r\nerr\r\n" || got.Stderr != "" {
			t.Errorf("%s: %+v", target, got)
		}
	}
	rigtest.NoSessions(t, r)
}

// TestContainerRefused: what ECS Exec lacks is told, with what to do.
func TestContainerRefused(t *testing.T) {
	t.Parallel()
	r, task := newContainers(t, awstest.Config{})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"shell", "ecs:web_x/cc33"}, "the task was started without it: enable ECS Exec"},
		{[]string{"exec", "ecs:web_x/cc33", "ls"}, "the task was started without it: enable ECS Exec"},
		{[]string{"shell", "ecs:web_x/dd44"}, "its agent is stopped: give the task a task role"},
		{[]string{"shell", "ecs:web_x/bb22"}, "add one of the task's containers: /proxy, /app"},
		{[]string{"shell", "ecs:web_x/bb22/db"}, "the task's containers are proxy, app"},
		{[]string{"shell", "ecs:web_x/ee55"}, "the cluster web_x has no task ee55"},
		{[]string{"shell", "ecs:none/aa11"}, "ClusterNotFoundException"},
		{[]string{"shell", "--document", "X", "ecs:web_x/aa11"}, "ECS runs a command without a document"},
		{[]string{"exec", "--reason", "X", "ecs:web_x/aa11", "ls"}, "ECS runs a command without a document"},
	} {
		got := rigtest.Run(t, r.Command(tt.args...), nil)
		if got.Status != 1 || !strings.Contains(got.Stderr, tt.want) || strings.Count(got.Stderr, "\n") != 1 {
			t.Errorf("%q: status %d, %s", tt.args, got.Status, got.Stderr)
		}
	}
	r.DenyActions("ecs:ExecuteCommand")
	got := rigtest.Run(t, r.Command("exec", "ecs:web_x/aa11", "ls"), nil)
	if got.Status != 1 || !strings.Contains(got.Stderr, "ecs:ExecuteCommand") || !strings.Contains(got.Stderr, "ask for the IAM permission") {
		t.Errorf("status %d, %s", got.Status, got.Stderr)
	}
	// Who may not ask what the task is may run a command all the same.
	r.DenyActions("ecs:DescribeTasks")
	got = rigtest.Run(t, r.Command("exec", task.Target(&task.Containers[0]), "echo", "hello"), nil)
	if got.Status != 0 || string(got.Stdout) != "hello\r\n" {
		t.Errorf("%+v", got)
	}
}
