package awstest

import (
	"math/rand/v2"
	"slices"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// executeDocument is what a session of ECS Exec shows as its document.
const executeDocument = "AmazonECS-ExecuteInteractiveCommand"

// notEnabled is ECS's refusal where no agent runs beside a container.
const notEnabled = "The execute command failed because execute command was not enabled when the task was run or the execute command agent isn't running. " +
	"Wait and try again or run a new task with execute command enabled and try again."

type executeRequest struct {
	Cluster, Task, Container, Command string
	Interactive                       bool
}

type executeResponse struct {
	Cluster       string         `json:"clusterArn"`
	Task          string         `json:"taskArn"`
	Container     string         `json:"containerArn"`
	ContainerName string         `json:"containerName"`
	Interactive   bool           `json:"interactive"`
	Session       executeSession `json:"session"`
}

type executeSession struct {
	SessionID  string `json:"sessionId"`
	StreamURL  string `json:"streamUrl"`
	TokenValue string `json:"tokenValue"`
}

// executeCommand starts a session in which one of a task's containers runs a
// command.
func (s *Server) executeCommand(c *apiCall, r *executeRequest) (any, *ssmtest.APIError) {
	tasks, refusal := s.clusterTasks(c, &tasksRequest{Cluster: r.Cluster})
	if refusal != nil {
		return nil, refusal
	}
	invalid := func(message string) (any, *ssmtest.APIError) {
		return nil, badRequest("InvalidParameterException", "%s", message)
	}
	if r.Command == "" {
		return invalid("Command cannot be empty.")
	}
	if !r.Interactive {
		return invalid("Interactive is the only mode supported currently.")
	}
	i := slices.IndexFunc(tasks, func(t *Task) bool { return t.ID == r.Task || t.ARN() == r.Task })
	if i < 0 {
		return invalid("The specified task was not found.")
	}
	t := tasks[i]
	if r.Container == "" && len(t.Containers) > 1 {
		return invalid("A container name must be specified when the task has more than one container.")
	}
	j := slices.IndexFunc(t.Containers, func(c Container) bool { return r.Container == "" || c.Name == r.Container })
	switch {
	case j < 0:
		return invalid("The specified container was not found in the task.")
	case t.NoExecuteCommand, t.Containers[j].Status != "RUNNING", t.Containers[j].Node.NotConnected:
		return invalid(notEnabled)
	}
	container := &t.Containers[j]
	if s.Rebooting(t.Target(container)) { // the agent runs, as far as ECS knows, and does not call in
		return nil, badRequest("TargetNotConnectedException",
			"The execute command failed due to an internal error. Try again later.")
	}
	session := s.Server.PlantSession(ssmtest.PlantedSession{
		ID: executeID(), Target: t.Target(container), Document: executeDocument, Command: r.Command,
	})
	streamURL, token := session.Grant()
	return executeResponse{
		Cluster: t.clusterARN(), Task: t.ARN(), Container: t.containerARN(container), ContainerName: container.Name, Interactive: true,
		Session: executeSession{session.ID(), streamURL, token},
	}, nil
}

// executeID is a session's id as ECS Exec makes them.
func executeID() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	id := []byte("ecs-execute-command-")
	for range 26 {
		id = append(id, letters[rand.IntN(len(letters))])
	}
	return string(id)
}
