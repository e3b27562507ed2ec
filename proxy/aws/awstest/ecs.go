package awstest

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// ecsService is ECS.
var ecsService = &awsService{name: "ecs", target: "AmazonEC2ContainerServiceV20141113", operations: map[string]operation{
	"ListClusters":   jsonOperation((*Server).listClusters),
	"ListTasks":      jsonOperation((*Server).listTasks),
	"DescribeTasks":  jsonOperation((*Server).describeTasks),
	"ExecuteCommand": jsonOperation((*Server).executeCommand),
}}

// Task is an ECS task. The zero value of all but Containers is a good one. A
// cluster is there as soon as it has had a task.
type Task struct {
	Region  string // as a Node's
	Cluster string // its name; "" is default
	ID      string // "": made up
	Service string // "": it was not started by a service
	Family  string // of the task definition; "" is the service's name, or "task"

	// Status is where the task is, "" is RUNNING. One that is STOPPED, or on its
	// way there, is meant to be stopped.
	Status string

	// NoExecuteCommand is a task started without --enable-execute-command:
	// nothing can connect to it.
	NoExecuteCommand bool

	Started    time.Time // zero: an hour before it was added
	Containers []Container
}

// Container is one of a Task's.
type Container struct {
	Name      string
	RuntimeID string // "": made up
	Status    string // "": the task's

	// Node is the agent in it, for StartSession to connect to Target and for
	// ExecuteCommand. Its ID and Region are the Task's matter.
	Node ssmtest.Node
}

// Target is what StartSession calls one of the task's containers.
func (t *Task) Target(c *Container) string {
	return fmt.Sprintf("ecs:%s_%s_%s", t.Cluster, t.ID, c.RuntimeID)
}

// ARN is the task's.
func (t *Task) ARN() string {
	return fmt.Sprintf("arn:aws:ecs:%s:%s:task/%s/%s", t.Region, accountID, t.Cluster, t.ID)
}

func (t *Task) containerARN(c *Container) string {
	return fmt.Sprintf("arn:aws:ecs:%s:%s:container/%s/%s/%s", t.Region, accountID, t.Cluster, t.ID, c.RuntimeID)
}

func (t *Task) clusterARN() string {
	return fmt.Sprintf("arn:aws:ecs:%s:%s:cluster/%s", t.Region, accountID, t.Cluster)
}

// desired is what ECS wants the task to be.
func (t *Task) desired() string {
	switch t.Status {
	case "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "DELETED":
		return "STOPPED"
	default:
		return "RUNNING"
	}
}

// AddTask adds a task, or replaces the one with its ID, and returns it with all
// that is made up filled in.
func (s *Server) AddTask(t Task) Task {
	set := func(text *string, v string) {
		if *text == "" {
			*text = v
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	set(&t.Region, s.cfg.Region)
	set(&t.Cluster, "default")
	set(&t.ID, strings.ReplaceAll(newID(), "-", ""))
	set(&t.Family, t.Service)
	set(&t.Family, "task")
	set(&t.Status, "RUNNING")
	if t.Started.IsZero() {
		t.Started = time.Now().Add(-time.Hour)
	}
	t.Containers = slices.Clone(t.Containers)
	for i := range t.Containers {
		c := &t.Containers[i]
		set(&c.Status, t.Status)
		h := fnv.New32a()
		h.Write([]byte(c.Name))
		set(&c.RuntimeID, fmt.Sprintf("%s-%010d", t.ID, h.Sum32()))
		n := c.Node
		n.ID, n.Region = t.Target(c), t.Region
		n.NotConnected = n.NotConnected || t.NoExecuteCommand || c.Status != "RUNNING"
		s.Server.AddNode(n) // and not among s.nodes: no other service knows it
	}
	kept := t
	kept.Containers = slices.Clone(t.Containers)
	if i := slices.IndexFunc(s.tasks, func(other *Task) bool { return other.ARN() == t.ARN() }); i >= 0 {
		s.tasks[i] = &kept
	} else {
		s.tasks = append(s.tasks, &kept)
	}
	return t
}

type tasksRequest struct {
	Cluster       string
	DesiredStatus string
	ServiceName   string
	Family        string
	Tasks         []string
	MaxResults    *int
	NextToken     string
}

// clusterTasks returns the tasks of the cluster that r names.
func (s *Server) clusterTasks(c *apiCall, r *tasksRequest) ([]*Task, *ssmtest.APIError) {
	name := r.Cluster
	if name == "" {
		name = "default"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Task
	for _, t := range s.tasks {
		if t.Region == c.region && (t.Cluster == name || t.clusterARN() == name) {
			list = append(list, t)
		}
	}
	if list == nil {
		return nil, badRequest("ClusterNotFoundException", "Cluster not found.")
	}
	return list, nil
}

// ecsPage is page with ECS's limits.
func ecsPage(all []string, r *tasksRequest, parameters ...any) ([]string, string, *ssmtest.APIError) {
	size := 100
	if r.MaxResults != nil {
		size = *r.MaxResults
	}
	if size < 1 || size > 100 {
		return nil, "", badRequest("InvalidParameterException", "maxResults must be between 1 and 100.")
	}
	part, next, ok := page(all, size, r.NextToken, parameters...)
	if !ok {
		return nil, "", badRequest("InvalidParameterException", "Invalid token value!")
	}
	if part == nil {
		part = []string{}
	}
	return part, next, nil
}

func (s *Server) listClusters(c *apiCall, r *tasksRequest) (any, *ssmtest.APIError) {
	var arns []string
	s.mu.Lock()
	for _, t := range s.tasks {
		if arn := t.clusterARN(); t.Region == c.region && !slices.Contains(arns, arn) {
			arns = append(arns, arn)
		}
	}
	s.mu.Unlock()
	part, next, err := ecsPage(arns, r, "clusters", c.region)
	if err != nil {
		return nil, err
	}
	return struct {
		ClusterArns []string `json:"clusterArns"`
		NextToken   string   `json:"nextToken,omitempty"`
	}{part, next}, nil
}

func (s *Server) listTasks(c *apiCall, r *tasksRequest) (any, *ssmtest.APIError) {
	tasks, err := s.clusterTasks(c, r)
	if err != nil {
		return nil, err
	}
	if r.ServiceName != "" && !slices.ContainsFunc(tasks, func(t *Task) bool { return t.Service == r.ServiceName }) {
		return nil, badRequest("ServiceNotFoundException", "Service not found.")
	}
	if r.DesiredStatus == "" {
		r.DesiredStatus = "RUNNING"
	}
	var arns []string
	for _, t := range tasks {
		if t.desired() == r.DesiredStatus && (r.ServiceName == "" || t.Service == r.ServiceName) && (r.Family == "" || t.Family == r.Family) {
			arns = append(arns, t.ARN())
		}
	}
	part, next, err := ecsPage(arns, r, "tasks", c.region, tasks[0].Cluster, r.DesiredStatus, r.ServiceName, r.Family)
	if err != nil {
		return nil, err
	}
	return struct {
		TaskArns  []string `json:"taskArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}{part, next}, nil
}

// describeTasks tells of tasks by ids or ARNs. One that is missing is no
// refusal, but a failure among the rest.
func (s *Server) describeTasks(c *apiCall, r *tasksRequest) (any, *ssmtest.APIError) {
	tasks, err := s.clusterTasks(c, r)
	if err != nil {
		return nil, err
	}
	if len(r.Tasks) < 1 || len(r.Tasks) > 100 {
		return nil, badRequest("InvalidParameterException", "Tasks must have between 1 and 100 items.")
	}
	answer := describedTasks{Tasks: []describedTask{}, Failures: []taskFailure{}}
	for _, name := range r.Tasks {
		i := slices.IndexFunc(tasks, func(t *Task) bool { return t.ID == name || t.ARN() == name })
		if i < 0 {
			arn := name
			if !strings.HasPrefix(arn, "arn:") {
				arn = fmt.Sprintf("arn:aws:ecs:%s:%s:task/%s/%s", c.region, accountID, tasks[0].Cluster, name)
			}
			answer.Failures = append(answer.Failures, taskFailure{arn, "MISSING"})
			continue
		}
		answer.Tasks = append(answer.Tasks, tasks[i].describe())
	}
	return answer, nil
}
