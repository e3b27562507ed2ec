package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// findTask asks ECS for a container's runtime id, which the service's form of
// a target ends in.
func (c *client) findTask(ctx context.Context) (id string, err error) {
	t := c.t.task
	out, err := ecs.NewFromConfig(c.cfg).DescribeTasks(ctx, &ecs.DescribeTasksInput{
		Cluster: &t.cluster,
		Tasks:   []string{t.id},
	})
	if err != nil {
		return "", err
	}
	if len(out.Tasks) == 0 {
		return "", fmt.Errorf("%w in %s: the cluster %s has no task %s", ErrNoMachine, c.cfg.Region, t.cluster, t.id)
	}
	task := &out.Tasks[0]
	var names []string
	var matching []types.Container
	for _, container := range task.Containers {
		name := aws.ToString(container.Name)
		names = append(names, name)
		if t.container == "" || t.container == name {
			matching = append(matching, container)
		}
	}
	switch {
	case len(matching) == 0:
		return "", fmt.Errorf("%w: the task's containers are %s", ErrNoMachine, strings.Join(names, ", "))
	case len(matching) > 1:
		return "", fmt.Errorf("%w: add one of the task's containers: /%s", ErrSeveral, strings.Join(names, ", /"))
	}
	runtime := aws.ToString(matching[0].RuntimeId)
	if runtime == "" {
		return "", fmt.Errorf("the container is %s", firstOf(strings.ToLower(aws.ToString(matching[0].LastStatus)), "not running"))
	}
	// The cluster's and the task's own names: what was given may be an ARN.
	id = fmt.Sprintf("ecs:%s_%s_%s", last(aws.ToString(task.ClusterArn)), last(aws.ToString(task.TaskArn)), runtime)
	if !serviceID.MatchString(id) {
		return "", errors.New("ECS answers with ids of no known form")
	}
	return id, nil
}

// last is the last part of an ARN's resource.
func last(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
