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
)

// FindTask asks ECS for a container's runtime id, the last part of the
// service's form of a target.
func (c *Client) FindTask(ctx context.Context) (id string, err error) {
	f, err := c.describeTask(ctx, c.Target.Task.Cluster, c.Target.Task.ID)
	if err != nil {
		return "", err
	}
	name := c.Target.Task.Container
	if err := f.choose(func(container *types.Container) bool { return name == "" || name == aws.ToString(container.Name) }); err != nil {
		return "", err
	}
	c.mu.Lock()
	c.found = f
	c.mu.Unlock()
	return f.target()
}

// foundTask is ECS's description of a task, and which of its containers is
// meant.
type foundTask struct {
	task      types.Task
	container *types.Container // nil until chosen
}

// describeTask asks ECS for a task.
func (c *Client) describeTask(ctx context.Context, cluster, id string) (*foundTask, error) {
	out, err := ecs.NewFromConfig(c.Config).DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(out.Tasks) == 0 {
		return nil, fmt.Errorf("%w in %s: the cluster %s has no task %s", ErrNoMachine, c.Config.Region, cluster, id)
	}
	return &foundTask{task: out.Tasks[0]}, nil
}

// choose selects the one container that is meant.
func (f *foundTask) choose(meant func(*types.Container) bool) error {
	var names []string
	var matching []*types.Container
	for i := range f.task.Containers {
		container := &f.task.Containers[i]
		names = append(names, aws.ToString(container.Name))
		if meant(container) {
			matching = append(matching, container)
		}
	}
	switch {
	case len(matching) == 0:
		return fmt.Errorf("%w: the task's containers are %s", ErrNoMachine, strings.Join(names, ", "))
	case len(matching) > 1:
		return fmt.Errorf("%w: add one of the task's containers: /%s", ErrSeveral, strings.Join(names, ", /"))
	}
	f.container = matching[0]
	return nil
}

// target returns the service's name for the container.
func (f *foundTask) target() (string, error) {
	runtime := aws.ToString(f.container.RuntimeId)
	if runtime == "" {
		return "", fmt.Errorf("the container is %s", cmp.Or(strings.ToLower(aws.ToString(f.container.LastStatus)), "not running"))
	}
	// Use the names of the cluster and the task: the user may have given ARNs.
	id := fmt.Sprintf("ecs:%s_%s_%s", LastPart(aws.ToString(f.task.ClusterArn)), LastPart(aws.ToString(f.task.TaskArn)), runtime)
	if !ServiceID.MatchString(id) {
		return "", errors.New("ECS answers with ids of no known form")
	}
	return id, nil
}

// LastPart returns the last part of an ARN's resource.
func LastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
