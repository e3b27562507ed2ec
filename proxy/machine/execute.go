package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
)

// ErrNoDocument says that a session to a container does not use a Systems
// Manager document.
var ErrNoDocument = errors.New("ECS runs a command without a document: leave --document, --parameters and --reason out")

// IsContainer reports whether id is that of an ECS container.
func IsContainer(id string) bool { return strings.HasPrefix(id, "ecs:") }

// ContainerSession returns a session that runs command in a container. It
// always has a terminal: ECS offers nothing else.
func (c *Client) ContainerSession(id, command string) *awsapi.Session {
	s := awsapi.SessionOf(c.Config, id, nil)
	s.Starter = aws.ToString(ecs.NewFromConfig(c.Config).Options().BaseEndpoint)
	s.Begin = func(ctx context.Context) (awsapi.Begun, error) {
		f, err := c.container(ctx, id)
		if err != nil {
			return awsapi.Begun{}, err
		}
		input := ecs.ExecuteCommandInput{Command: &command, Interactive: true}
		if f.container == nil { // no permission to ask; the service itself knows if there is only one
			cluster, task, _ := splitContainer(id)
			input.Cluster, input.Task = &cluster, &task
		} else {
			input.Cluster, input.Task, input.Container = f.task.ClusterArn, f.task.TaskArn, f.container.Name
			if s.Target, err = f.target(); err != nil {
				return awsapi.Begun{}, err
			}
		}
		s.Log.Debug("ExecuteCommand sent", "target", s.Target, "region", c.Config.Region)
		out, err := ecs.NewFromConfig(c.Config).ExecuteCommand(ctx, &input)
		if err == nil && out.Session == nil {
			err = errors.New("ECS answers without a session")
		}
		if err != nil {
			return awsapi.Begun{}, &executeError{f, err}
		}
		return awsapi.Begun{ID: aws.ToString(out.Session.SessionId), URL: aws.ToString(out.Session.StreamUrl), Token: aws.ToString(out.Session.TokenValue), Skew: awsapi.SkewOf(out.ResultMetadata)}, nil
	}
	return s
}

// container describes the container with that id, asking ECS unless that has
// just been done. It asks each time because a restarted container has another
// id, and data keys are bound to that id. Without permission to ask, the result
// is empty.
func (c *Client) container(ctx context.Context, id string) (*foundTask, error) {
	c.mu.Lock()
	f := c.found
	c.found = nil
	c.mu.Unlock()
	if f != nil {
		return f, nil
	}
	var name string
	cluster, task, runtime := splitContainer(id)
	if t := c.Target.Task; t != nil {
		cluster, task, name = t.Cluster, t.ID, t.Container
	}
	f, err := c.describeTask(ctx, cluster, task)
	if Denied(err) {
		return &foundTask{}, nil
	}
	if err != nil {
		return nil, err
	}
	return f, f.choose(func(container *types.Container) bool {
		if c.Target.Task == nil {
			return aws.ToString(container.RuntimeId) == runtime
		}
		return name == "" || aws.ToString(container.Name) == name
	})
}

// splitContainer splits ecs:CLUSTER_TASK_RUNTIME. A cluster's name may contain
// an underscore; the other parts may not.
func splitContainer(id string) (cluster, task, runtime string) {
	rest := strings.TrimPrefix(id, "ecs:")
	if i := strings.LastIndexByte(rest, '_'); i >= 0 {
		rest, runtime = rest[:i], rest[i+1:]
	}
	if i := strings.LastIndexByte(rest, '_'); i >= 0 {
		rest, task = rest[:i], rest[i+1:]
	}
	return rest, task, runtime
}

// executeError says that ECS did not run a command. It includes what is known
// of the container.
type executeError struct {
	found *foundTask
	error
}

func (e *executeError) Unwrap() error { return e.error }

// What ECS Exec needs.
const (
	enableExecute = "enable ECS Exec (aws ecs update-service --enable-execute-command --force-new-deployment, or run-task --enable-execute-command)"
	executeRole   = "give the task a task role that allows ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel, and a way to the ssmmessages endpoint"
)

// next returns what the container lacks.
func (e *executeError) next() string {
	var api smithy.APIError
	if !errors.As(e.error, &api) {
		return ""
	}
	switch code := api.ErrorCode(); code {
	case "InvalidParameterException", "TargetNotConnectedException":
	case "ClusterNotFoundException":
		return "check the cluster's name, and that region and account are right"
	default:
		return awsapi.NextForCode(code)
	}
	if e.found.container == nil {
		return "name the container where a task has several, " + enableExecute + ", and " + executeRole
	}
	if !e.found.task.EnableExecuteCommand {
		return "the task was started without it: " + enableExecute + ", and start it anew"
	}
	for _, agent := range e.found.container.ManagedAgents {
		if agent.Name != types.ManagedAgentNameExecuteCommandAgent || aws.ToString(agent.LastStatus) == "RUNNING" {
			continue
		}
		return fmt.Sprintf("its agent is %s: %s", strings.ToLower(cmp.Or(aws.ToString(agent.LastStatus), "missing")), executeRole)
	}
	return executeRole
}
