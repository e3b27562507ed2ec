package awstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestTasksAreListed(t *testing.T) {
	s := nodeServer(t, Config{Config: ssmtest.Config{Regions: []string{"eu-west-1"}}})
	one := s.AddTask(Task{ID: "one", Cluster: "web", Service: "api"})
	two := s.AddTask(Task{ID: "two", Cluster: "web", Family: "job"})
	old := s.AddTask(Task{ID: "old", Cluster: "web", Service: "api", Status: "STOPPED"})
	other := s.AddTask(Task{})
	far := s.AddTask(Task{Region: "eu-west-1"})
	for _, test := range []struct {
		region string
		in     ecs.ListTasksInput
		want   []Task
	}{
		{"us-east-1", ecs.ListTasksInput{Cluster: aws.String("web")}, []Task{one, two}},
		{"us-east-1", ecs.ListTasksInput{Cluster: aws.String("arn:aws:ecs:us-east-1:123456789012:cluster/web")}, []Task{one, two}},
		{"us-east-1", ecs.ListTasksInput{Cluster: aws.String("web"), DesiredStatus: "STOPPED"}, []Task{old}},
		{"us-east-1", ecs.ListTasksInput{Cluster: aws.String("web"), ServiceName: aws.String("api")}, []Task{one}},
		{"us-east-1", ecs.ListTasksInput{Cluster: aws.String("web"), Family: aws.String("job")}, []Task{two}},
		{"us-east-1", ecs.ListTasksInput{}, []Task{other}},
		{"eu-west-1", ecs.ListTasksInput{}, []Task{far}},
	} {
		answer, err := ecs.NewFromConfig(sdk(s, test.region)).ListTasks(t.Context(), &test.in)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, one := range test.want {
			want = append(want, one.ARN())
		}
		if !slices.Equal(answer.TaskArns, want) {
			t.Errorf("got %q, want %q", answer.TaskArns, want)
		}
	}
	clusters, err := ecs.NewFromConfig(sdk(s, "us-east-1")).ListClusters(t.Context(), nil)
	if want := []string{"arn:aws:ecs:us-east-1:123456789012:cluster/web", "arn:aws:ecs:us-east-1:123456789012:cluster/default"}; err != nil || !slices.Equal(clusters.ClusterArns, want) {
		t.Errorf("clusters %+v, %v", clusters, err)
	}
	client := ecs.NewFromConfig(sdk(s, "eu-west-1"))
	_, err = client.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("web")})
	refused(t, "another region's cluster", err, "ClusterNotFoundException", 400)
	_, err = client.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("web"), Tasks: []string{"one"}})
	refused(t, "another region's cluster", err, "ClusterNotFoundException", 400)
	_, err = client.ListTasks(t.Context(), &ecs.ListTasksInput{ServiceName: aws.String("api")})
	refused(t, "a service that there is not", err, "ServiceNotFoundException", 400)
	_, err = client.ListTasks(t.Context(), &ecs.ListTasksInput{MaxResults: aws.Int32(101)})
	refused(t, "101 on a page", err, "InvalidParameterException", 400)
	s.DenyActions("ecs:ListTasks")
	_, err = client.ListTasks(t.Context(), nil)
	refused(t, "not allowed", err, "AccessDeniedException", 400)
}

func TestTasksComeInPages(t *testing.T) {
	s := nodeServer(t, Config{})
	for i := range 250 {
		s.AddTask(Task{ID: fmt.Sprint("task", i)})
	}
	seen := make(map[string]bool)
	pages := 0
	for p := ecs.NewListTasksPaginator(ecs.NewFromConfig(sdk(s, "us-east-1")), &ecs.ListTasksInput{}); p.HasMorePages(); pages++ {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, arn := range page.TaskArns {
			seen[arn] = true
		}
	}
	if len(seen) != 250 || pages != 3 {
		t.Errorf("%d tasks on %d pages", len(seen), pages)
	}
}

func TestTasksAreDescribed(t *testing.T) {
	s := nodeServer(t, Config{})
	web := s.AddTask(Task{Cluster: "web", Service: "api", Containers: []Container{{Name: "app"}, {Name: "log", Node: ssmtest.Node{NotConnected: true}}}})
	shut := s.AddTask(Task{Cluster: "web", ID: "shut", NoExecuteCommand: true, Containers: []Container{{Name: "app", RuntimeID: "abc"}}})
	s.AddTask(Task{Cluster: "web", ID: "new", Status: "PENDING", Containers: []Container{{Name: "app"}}})
	client := ecs.NewFromConfig(sdk(s, "us-east-1"))
	answer, err := client.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{
		Cluster: aws.String("web"), Tasks: []string{web.ID, shut.ARN(), "missing", "new"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f := answer.Failures; len(f) != 1 || *f[0].Reason != "MISSING" || *f[0].Arn != "arn:aws:ecs:us-east-1:123456789012:task/web/missing" {
		t.Errorf("failures %+v", f)
	}
	one, two, three := answer.Tasks[0], answer.Tasks[1], answer.Tasks[2]
	if *one.TaskArn != web.ARN() || !one.EnableExecuteCommand || *one.LastStatus != "RUNNING" || *one.DesiredStatus != "RUNNING" || *one.Group != "service:api" || one.StartedAt == nil {
		t.Errorf("got %+v", one)
	}
	agent := func(c types.Container) string {
		if len(c.ManagedAgents) != 1 || c.ManagedAgents[0].Name != "ExecuteCommandAgent" {
			return ""
		}
		return *c.ManagedAgents[0].LastStatus
	}
	for i, want := range []string{"RUNNING", "STOPPED"} {
		if c := one.Containers[i]; *c.Name != web.Containers[i].Name || *c.RuntimeId != web.Containers[i].RuntimeID || agent(c) != want || *c.LastStatus != "RUNNING" {
			t.Errorf("container %d: %+v", i, c)
		}
	}
	if two.EnableExecuteCommand || agent(two.Containers[0]) != "" || *two.Containers[0].RuntimeId != "abc" {
		t.Errorf("without execute-command: %+v", two)
	}
	if c := three.Containers[0]; *three.LastStatus != "PENDING" || *three.DesiredStatus != "RUNNING" || agent(c) != "PENDING" || c.RuntimeId != nil {
		t.Errorf("a new one: %+v", three)
	}
	_, err = client.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("web"), Tasks: slices.Repeat([]string{"x"}, 101)})
	refused(t, "101 tasks", err, "InvalidParameterException", 400)
}

func TestSessionsGoToContainers(t *testing.T) {
	s := nodeServer(t, Config{})
	dialed := make(chan string, 1)
	task := s.AddTask(Task{Cluster: "web", Containers: []Container{
		{Name: "app", Node: ssmtest.Node{Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialed <- address
			return nil, errors.New("refused")
		}}},
		{Name: "log", Node: ssmtest.Node{NotConnected: true}},
		{Name: "done", Status: "STOPPED"},
	}})
	shut := s.AddTask(Task{Cluster: "web", NoExecuteCommand: true, Containers: []Container{{Name: "app"}}})
	target := task.Target(&task.Containers[0])
	if want := "ecs:web_" + task.ID + "_" + task.Containers[0].RuntimeID; target != want || !strings.HasPrefix(task.Containers[0].RuntimeID, task.ID+"-") {
		t.Errorf("target %q, want %q", target, want)
	}
	conn, err := ssmproto.Dial(t.Context(), s.NewClient(target, "22"), &ssmproto.Config{Transport: s.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-dialed; got != "localhost:22" {
		t.Errorf("dialled %q", got)
	}
	ssmClient := ssm.NewFromConfig(sdk(s, "us-east-1"))
	for what, target := range map[string]string{
		"not connected":           task.Target(&task.Containers[1]),
		"stopped":                 task.Target(&task.Containers[2]),
		"without execute-command": shut.Target(&shut.Containers[0]),
		"missing":                 "ecs:web_x_y",
	} {
		_, err := ssmClient.StartSession(t.Context(), &ssm.StartSessionInput{Target: &target, DocumentName: aws.String("AWS-StartSSHSession")})
		refused(t, what, err, "TargetNotConnected", 400)
	}
	if got := listed(t, sdk(s, "us-east-1"), nil); len(got) != 0 {
		t.Errorf("EC2 knows %q", got)
	}
	if got := inventoried(t, sdk(s, "us-east-1"), &ssm.DescribeInstanceInformationInput{}); len(got) != 0 {
		t.Errorf("Systems Manager knows %+v", got)
	}
}
