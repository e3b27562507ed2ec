package list_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// newECS is an account with two clusters: web with two services, and batch with
// 150 tasks that nothing can connect to.
func newECS(t *testing.T) *account {
	a := newAccount(t, ssmtest.Config{Regions: []string{"eu-central-1"}})
	app := []awstest.Container{{Name: "app"}}
	started := long(3 * time.Hour)
	a.AddTask(awstest.Task{Cluster: "web", ID: "0", Service: "shop", Started: started, Containers: app})
	a.AddTask(awstest.Task{Cluster: "web", ID: "1", Service: "front", Started: started, Containers: []awstest.Container{
		{Name: "proxy"}, {Name: "app", Node: ssmtest.Node{NotConnected: true}}}})
	a.AddTask(awstest.Task{Cluster: "web", ID: "2", Service: "front", Started: started, Status: "PENDING", Containers: app})
	a.AddTask(awstest.Task{Cluster: "web", ID: "3", Service: "front", Region: "eu-central-1", Started: started, Containers: app})
	for i := range 150 {
		a.AddTask(awstest.Task{Cluster: "batch", ID: fmt.Sprint(1000 + i), Family: "report", NoExecuteCommand: true, Started: started, Containers: app})
	}
	return a
}

func TestLsECS(t *testing.T) {
	t.Parallel()
	a := newECS(t)
	want := `
TARGET           STATUS   EXEC           SERVICE  STARTED  IP
ecs:web/1/app    running  agent stopped  front    3 h ago  -
ecs:web/1/proxy  running  yes            front    3 h ago  -
ecs:web/2/app    pending  agent pending  front    3 h ago  -
ecs:web/0/app    running  yes            shop     3 h ago  -
`
	if got := "\n" + strings.Join(a.run(t, 0, "", "ls", "--ecs", "ecs:web/*"), ""); got != want {
		t.Errorf("got%swant%s", got, want)
	}
	for pattern, want := range map[string]int{"": 154, "shop": 1, "front": 3, "batch": 150, "app": 153, "114?": 10, "report": 150} {
		if lines := a.run(t, 0, "", "ls", "--ecs", pattern); len(lines) != 1+want {
			t.Errorf("%q lists %d", pattern, len(lines)-1)
		}
	}
	lines := a.run(t, 0, "", "ls", "--ecs", "--regions", "all", "front")
	if len(lines) != 5 || strings.Fields(lines[0])[2] != "REGION" {
		t.Errorf("%q", lines)
	}
	a.run(t, 1, `nothing in us-east-1 matches "none"`, "ls", "--ecs", "none")
}

func TestLsECSInJSON(t *testing.T) {
	t.Parallel()
	a := newECS(t)
	var targets []string
	for _, line := range a.run(t, 0, "", "ls", "--ecs", "--json") {
		var c struct {
			Target, Region, Cluster, Task, Container, Group, Status string
			Exec                                                    bool   `json:"exec_enabled"`
			Agent                                                   string `json:"exec_agent"`
			Runtime                                                 string `json:"runtime_id"`
			Started                                                 time.Time
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil || c.Target != "ecs:"+c.Cluster+"/"+c.Task+"/"+c.Container || c.Exec != (c.Cluster == "web") {
			t.Errorf("%q: %v", line, err)
		}
		if c.Cluster == "web" {
			targets = append(targets, c.Target)
		}
	}
	slices.Sort(targets)
	if !slices.Equal(targets, []string{"ecs:web/0/app", "ecs:web/1/app", "ecs:web/1/proxy", "ecs:web/2/app"}) {
		t.Errorf("%q", targets)
	}
}

// TestLsECSWithoutPermission: a cluster that may not be asked is told, and the
// other is listed.
func TestLsECSWithoutPermission(t *testing.T) {
	t.Parallel()
	a := newECS(t)
	var asked atomic.Int64
	a.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "ListTasks" && asked.Add(1) == 1 {
			return &ssmtest.APIError{Status: 400, Code: "AccessDeniedException", Message: "not authorized to perform: ecs:ListTasks"}
		}
		return nil
	})
	lines := a.run(t, 1, ": AccessDeniedException: not authorized to perform: ecs:ListTasks; ask for", "ls", "--ecs")
	if len(lines) != 1+4 && len(lines) != 1+150 {
		t.Errorf("%d lines", len(lines))
	}
	a.OnAPI(nil)
	a.DenyActions("ecs:ListClusters")
	if lines := a.run(t, 1, "us-east-1: AccessDeniedException: ", "ls", "--ecs"); len(lines) > 0 {
		t.Errorf("%q", lines)
	}
	none := newAccount(t, ssmtest.Config{})
	none.run(t, 0, "there are no ECS tasks in us-east-1", "ls", "--ecs")
}
