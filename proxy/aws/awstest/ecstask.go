package awstest

import "fmt"

type describedTasks struct {
	Tasks    []describedTask `json:"tasks"`
	Failures []taskFailure   `json:"failures"`
}

type taskFailure struct {
	ARN    string `json:"arn"`
	Reason string `json:"reason"`
}

type describedTask struct {
	ARN            string               `json:"taskArn"`
	Cluster        string               `json:"clusterArn"`
	Definition     string               `json:"taskDefinitionArn"`
	Group          string               `json:"group"`
	Last           string               `json:"lastStatus"`
	Desired        string               `json:"desiredStatus"`
	LaunchType     string               `json:"launchType"`
	Zone           string               `json:"availabilityZone"`
	ExecuteCommand bool                 `json:"enableExecuteCommand"`
	Created        float64              `json:"createdAt"`
	Started        float64              `json:"startedAt"`
	Containers     []describedContainer `json:"containers"`
}

type describedContainer struct {
	ARN       string         `json:"containerArn"`
	Task      string         `json:"taskArn"`
	Name      string         `json:"name"`
	Image     string         `json:"image"`
	Last      string         `json:"lastStatus"`
	RuntimeID string         `json:"runtimeId,omitempty"`
	Agents    []managedAgent `json:"managedAgents,omitempty"`
}

type managedAgent struct {
	Name string `json:"name"`
	Last string `json:"lastStatus"`
}

func (t *Task) describe() describedTask {
	d := describedTask{
		ARN: t.ARN(), Cluster: t.clusterARN(),
		Definition: fmt.Sprintf("arn:aws:ecs:%s:%s:task-definition/%s:1", t.Region, accountID, t.Family),
		Group:      "family:" + t.Family, Last: t.Status, Desired: t.desired(), LaunchType: "FARGATE", Zone: t.Region + "a",
		ExecuteCommand: !t.NoExecuteCommand, Created: epoch(t.Started), Started: epoch(t.Started), Containers: []describedContainer{},
	}
	if t.Service != "" {
		d.Group = "service:" + t.Service
	}
	for i := range t.Containers {
		c := &t.Containers[i]
		described := describedContainer{
			ARN:  t.containerARN(c),
			Task: t.ARN(), Name: c.Name, Image: c.Name + ":latest", Last: c.Status, RuntimeID: c.RuntimeID,
		}
		if c.Status == "PENDING" || c.Status == "PROVISIONING" {
			described.RuntimeID = "" // there is none before it runs
		}
		if !t.NoExecuteCommand {
			agent := managedAgent{"ExecuteCommandAgent", "RUNNING"}
			switch {
			case c.Status != "RUNNING" && described.RuntimeID == "":
				agent.Last = "PENDING"
			case c.Status != "RUNNING" || c.Node.NotConnected:
				agent.Last = "STOPPED"
			}
			described.Agents = []managedAgent{agent}
		}
		d.Containers = append(d.Containers, described)
	}
	return d
}
