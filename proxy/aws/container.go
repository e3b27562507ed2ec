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

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// findTask asks ECS for a container's runtime id, the last part of the
// service's form of a target.
func (s *service) findTask(ctx context.Context, t *task) (id string, err error) {
	f, err := s.describeTask(ctx, t.Cluster, t.ID)
	if err != nil {
		return "", err
	}
	if err := f.choose(func(container *types.Container) bool {
		return t.Container == "" || t.Container == aws.ToString(container.Name)
	}); err != nil {
		return "", err
	}
	if id, err = f.target(); err == nil {
		s.mu.Lock()
		s.found, s.foundID = f, id
		s.mu.Unlock()
	}
	return id, err
}

// foundTask is ECS's description of a task, and which of its containers is
// meant.
type foundTask struct {
	task      types.Task
	container *types.Container // nil until chosen
}

// describeTask asks ECS for a task.
func (s *service) describeTask(ctx context.Context, cluster, id string) (*foundTask, error) {
	out, err := ecs.NewFromConfig(s.cfg).DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(out.Tasks) == 0 {
		return nil, fmt.Errorf("%w in %s: the cluster %s has no task %s", driver.ErrNoMachine, s.cfg.Region, cluster, id)
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
		return fmt.Errorf("%w: the task's containers are %s", driver.ErrNoMachine, strings.Join(names, ", "))
	case len(matching) > 1:
		return fmt.Errorf("%w: add one of the task's containers: /%s", driver.ErrSeveral, strings.Join(names, ", /"))
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
	id := fmt.Sprintf("ecs:%s_%s_%s", lastPart(aws.ToString(f.task.ClusterArn)), lastPart(aws.ToString(f.task.TaskArn)), runtime)
	if !serviceID.MatchString(id) {
		return "", errors.New("ECS answered with ids of an unknown form")
	}
	return id, nil
}

// lastPart returns the last part of an ARN's resource.
func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
