package aws

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
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// errNoDocument says that a session to a container does not use a Systems
// Manager document.
var errNoDocument = errors.New("ECS runs a command without a document: leave out --document, --parameters and --reason")

// isContainer reports whether id is that of an ECS container.
func isContainer(id string) bool { return strings.HasPrefix(id, "ecs:") }

// containerShell is the shell to run in a container.
const containerShell = "/bin/sh"

// containerSession returns a session that runs a command in a container. It
// always has a terminal: ECS offers nothing else.
func (s *service) containerSession(id string, r *driver.ShellRequest) (*awsapi.Session, error) {
	if r.Document != "" || r.Reason != "" || len(r.Parameters) > 0 {
		return nil, errNoDocument
	}
	var named *task
	if t, err := parse(r.Target.Text); err == nil {
		named = t.task
	}
	session := awsapi.SessionOf(s.cfg, id, nil)
	session.Starter = aws.ToString(ecs.NewFromConfig(s.cfg).Options().BaseEndpoint)
	session.Begin = func(ctx context.Context) (awsapi.Begun, error) {
		f, err := s.container(ctx, id, named)
		if err != nil {
			return awsapi.Begun{}, err
		}
		input := ecs.ExecuteCommandInput{Command: aws.String(cmp.Or(r.Command, containerShell)), Interactive: true}
		if f.container == nil { // no permission to ask; the service itself knows if there is only one
			cluster, task, _ := splitContainer(id)
			input.Cluster, input.Task = &cluster, &task
		} else {
			input.Cluster, input.Task, input.Container = f.task.ClusterArn, f.task.TaskArn, f.container.Name
			if session.Target, err = f.target(); err != nil {
				return awsapi.Begun{}, err
			}
		}
		session.Log.Debug("ExecuteCommand sent", "target", session.Target, "region", s.cfg.Region)
		out, err := ecs.NewFromConfig(s.cfg).ExecuteCommand(ctx, &input)
		if err == nil && out.Session == nil {
			err = errors.New("ECS answered without a session")
		}
		if err != nil {
			return awsapi.Begun{}, &executeError{f, err}
		}
		return awsapi.Begun{ID: aws.ToString(out.Session.SessionId), URL: aws.ToString(out.Session.StreamUrl), Token: aws.ToString(out.Session.TokenValue), Skew: awsapi.SkewOf(out.ResultMetadata)}, nil
	}
	return session, nil
}

// container describes the container with that id, asking ECS unless that has
// just been done, by its name if the user gave one. It asks each time because a restarted container has another
// id, and data keys are bound to that id. Without permission to ask, the result
// is empty.
func (s *service) container(ctx context.Context, id string, named *task) (*foundTask, error) {
	s.mu.Lock()
	f, foundID := s.found, s.foundID
	s.found = nil
	s.mu.Unlock()
	if f != nil && foundID == id {
		return f, nil
	}
	cluster, of, runtime := splitContainer(id)
	if named != nil {
		cluster, of = named.Cluster, named.ID
	}
	f, err := s.describeTask(ctx, cluster, of)
	if awsapi.Denied(err) {
		return &foundTask{}, nil
	}
	if err != nil {
		return nil, err
	}
	return f, f.choose(func(container *types.Container) bool {
		if named == nil {
			return aws.ToString(container.RuntimeId) == runtime
		}
		return named.Container == "" || aws.ToString(container.Name) == named.Container
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
	executeRole   = "give the task a task role that allows ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel, and network access to the ssmmessages endpoint"
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
		return "check the cluster's name, the region and the account"
	default:
		return awsapi.NextForCode(code)
	}
	if e.found.container == nil {
		return "name the container if the task has several, " + enableExecute + ", and " + executeRole
	}
	if !e.found.task.EnableExecuteCommand {
		return "the task was started without it: " + enableExecute + ", and start the task again"
	}
	for _, agent := range e.found.container.ManagedAgents {
		if agent.Name != types.ManagedAgentNameExecuteCommandAgent || aws.ToString(agent.LastStatus) == "RUNNING" {
			continue
		}
		return fmt.Sprintf("its agent is %s: %s", strings.ToLower(cmp.Or(aws.ToString(agent.LastStatus), "missing")), executeRole)
	}
	return executeRole
}
