package aws

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// clustersAtOnce is the number of clusters to query concurrently.
const clustersAtOnce = 4

// Containers implements driver.ContainerLister, cluster by cluster. It does not
// use the SDK's paginators: they hold the client in an interface, which makes the
// linker keep all of the client's methods.
func (s *service) Containers(ctx context.Context, failed func(cluster string, err error), page func([]driver.Container) error) error {
	client := ecs.NewFromConfig(s.cfg)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var asking sync.WaitGroup
	defer asking.Wait()
	places := make(chan struct{}, clustersAtOnce)
	for request := (&ecs.ListClustersInput{}); ; {
		out, err := client.ListClusters(ctx, request)
		if err != nil {
			return awsapi.CauseOf(ctx, err)
		}
		for _, cluster := range out.ClusterArns {
			places <- struct{}{}
			asking.Go(func() {
				defer func() { <-places }()
				var pageErr error
				err := tasks(ctx, client, cluster, func(list []types.Task) error {
					pageErr = page(s.containers(list))
					return pageErr
				})
				switch {
				case pageErr != nil:
					cancel(pageErr)
				case err != nil && ctx.Err() == nil:
					failed(lastPart(cluster), err)
				}
			})
		}
		if request.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			break
		}
	}
	asking.Wait()
	return context.Cause(ctx)
}

// tasks calls page for each page of a cluster's tasks.
func tasks(ctx context.Context, client *ecs.Client, cluster string, page func([]types.Task) error) error {
	for request := (&ecs.ListTasksInput{Cluster: &cluster}); ; {
		out, err := client.ListTasks(ctx, request)
		if err != nil {
			return err
		}
		if len(out.TaskArns) > 0 {
			// Both calls have pages of at most 100.
			described, err := client.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: out.TaskArns})
			if err != nil {
				return err
			}
			if err := page(described.Tasks); err != nil {
				return err
			}
		}
		if request.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			return nil
		}
	}
}

// containers converts ECS's descriptions of tasks.
func (s *service) containers(tasks []types.Task) (list []driver.Container) {
	for i := range tasks {
		list = append(list, containersOf(s.cfg.Region, &tasks[i])...)
	}
	return list
}

func containersOf(region string, task *types.Task) (list []driver.Container) {
	for i := range task.Containers {
		from := &task.Containers[i]
		c := driver.Container{
			Region:  region,
			Cluster: lastPart(aws.ToString(task.ClusterArn)),
			Task:    lastPart(aws.ToString(task.TaskArn)),
			Name:    aws.ToString(from.Name),
			Group:   aws.ToString(task.Group),
			Status:  aws.ToString(from.LastStatus),
			Exec:    task.EnableExecuteCommand,
			Runtime: aws.ToString(from.RuntimeId),
			Started: aws.ToTime(task.StartedAt),
		}
		c.Target = fmt.Sprintf("ecs:%s/%s/%s", c.Cluster, c.Task, c.Name)
		for _, agent := range from.ManagedAgents {
			if agent.Name == types.ManagedAgentNameExecuteCommandAgent {
				c.Agent = aws.ToString(agent.LastStatus)
			}
		}
		for _, n := range from.NetworkInterfaces {
			c.IP = cmp.Or(c.IP, aws.ToString(n.PrivateIpv4Address), aws.ToString(n.Ipv6Address))
		}
		list = append(list, c)
	}
	return list
}
