package list

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

// container is a container of an ECS task, in the form of the JSON output.
type container struct {
	Target  string    `json:"target"` // ecs:CLUSTER/TASK/CONTAINER
	Region  string    `json:"region"`
	Cluster string    `json:"cluster"`
	Task    string    `json:"task"`
	Name    string    `json:"container"`
	Group   string    `json:"group,omitempty"` // as service:web
	Status  string    `json:"status,omitempty"`
	Exec    bool      `json:"exec_enabled"`
	Agent   string    `json:"exec_agent,omitempty"` // its status
	Runtime string    `json:"runtime_id,omitempty"`
	IP      string    `json:"private_ip,omitempty"`
	Started time.Time `json:"started,omitzero"`
}

var containerColumns = []table.Column{
	{Title: "TARGET"},
	{Title: "STATUS", Leave: 4},
	{Title: regionTitle, Leave: 5},
	{Title: "EXEC"},
	{Title: "SERVICE", Flexible: true, Leave: 3},
	{Title: "STARTED", Leave: 2},
	{Title: "IP", Leave: 1},
}

func (c *container) row() table.Row {
	_, service, _ := strings.Cut(c.Group, ":")
	return table.Row{JSON: c, Cells: []table.Cell{
		{Text: c.Target},
		{Text: strings.ToLower(c.Status), Colour: stateColours[strings.ToLower(c.Status)]},
		{Text: c.Region},
		c.exec(),
		{Text: cmp.Or(service, c.Group)},
		{Text: passed(c.Started)},
		{Text: c.IP},
	}}
}

// exec reports whether a session is possible: ECS puts an agent into the
// container if that is enabled for the task.
func (c *container) exec() table.Cell {
	switch {
	case !c.Exec:
		return table.Cell{Text: "no", Colour: table.Dim}
	case c.Agent == "RUNNING":
		return table.Cell{Text: "yes", Colour: table.Green}
	}
	return table.Cell{Text: "agent " + strings.ToLower(cmp.Or(c.Agent, "missing")), Colour: table.Yellow}
}

// clustersAtOnce is the number of clusters to query concurrently.
const clustersAtOnce = 4

// containers lists the containers of a region, cluster by cluster. It does not
// use the SDK's paginators: they hold the client in an interface, which makes the
// linker keep all of the client's methods.
func (l *lister) containers(ctx context.Context, o *machine.Options, cfg aws.Config, news func(func() error) error) error {
	client := ecs.NewFromConfig(cfg)
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
				err := tasks(ctx, client, cluster, func(page []ecstypes.Task) error {
					return news(func() error { return l.printTasks(cfg.Region, page) })
				})
				switch {
				case stdio.Failed(err):
					cancel(err)
				case err != nil && ctx.Err() == nil:
					at := *o
					at.Target += ": cluster " + machine.LastPart(cluster)
					o.Notice(at.Explain(err).Error())
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
func tasks(ctx context.Context, client *ecs.Client, cluster string, page func([]ecstypes.Task) error) error {
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

func (l *lister) printTasks(region string, page []ecstypes.Task) error {
	var list []*container
	for i := range page {
		list = append(list, containersOf(region, &page[i])...)
	}
	slices.SortFunc(list, func(a, b *container) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Target, b.Target))
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []table.Row
	for _, c := range list {
		_, service, _ := strings.Cut(c.Group, ":")
		if l.matches(c.Target, c.Cluster, c.Task, c.Name, service) {
			rows = append(rows, c.row())
		}
	}
	return l.print(rows)
}

func containersOf(region string, task *ecstypes.Task) (list []*container) {
	for i := range task.Containers {
		from := &task.Containers[i]
		c := &container{
			Region:  region,
			Cluster: machine.LastPart(aws.ToString(task.ClusterArn)),
			Task:    machine.LastPart(aws.ToString(task.TaskArn)),
			Name:    aws.ToString(from.Name),
			Group:   aws.ToString(task.Group),
			Status:  aws.ToString(from.LastStatus),
			Exec:    task.EnableExecuteCommand,
			Runtime: aws.ToString(from.RuntimeId),
			Started: aws.ToTime(task.StartedAt),
		}
		c.Target = fmt.Sprintf("ecs:%s/%s/%s", c.Cluster, c.Task, c.Name)
		for _, agent := range from.ManagedAgents {
			if agent.Name == ecstypes.ManagedAgentNameExecuteCommandAgent {
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
