package awstest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// runShellScript is the document that SendCommand knows here.
const runShellScript = "AWS-RunShellScript"

// How much of a command's output GetCommandInvocation shows.
const (
	stdoutLimit = 24_000
	stderrLimit = 8_000
)

type commandRequest struct {
	DocumentName   string
	InstanceIds    []string
	Parameters     map[string][]string
	Comment        string
	TimeoutSeconds int
}

type commandResponse struct{ Command commandInfo }

type commandInfo struct {
	CommandId         string
	DocumentName      string
	InstanceIds       []string
	Parameters        map[string][]string
	Comment           string
	Status            string
	StatusDetails     string
	RequestedDateTime float64
	ExpiresAfter      float64
	TargetCount       int
}

// invocation is a command on one node. The server's lock guards it.
type invocation struct {
	CommandId, InstanceId, Comment, DocumentName string
	PluginName                                   string
	ResponseCode                                 int
	Status, StatusDetails                        string
	StandardOutputContent, StandardErrorContent  string
	ExecutionStartDateTime                       string
	ExecutionEndDateTime                         string
}

type invocationRequest struct{ CommandId, InstanceId, PluginName string }

// sendCommand has each node Run a script.
func (s *Server) sendCommand(c *apiCall, r *commandRequest) (any, *ssmtest.APIError) {
	switch {
	case r.DocumentName != runShellScript:
		return nil, badRequest("InvalidDocument", "Document with name %s does not exist.", r.DocumentName)
	case len(r.InstanceIds) < 1 || len(r.InstanceIds) > 50:
		return nil, badRequest("ValidationException", "1 validation error detected: Value at 'instanceIds' failed to satisfy constraint: Member must have length between 1 and 50")
	case len(r.Parameters["commands"]) == 0:
		return nil, badRequest("InvalidParameters", "The parameter commands is missing")
	}
	timeout := time.Hour
	for name, values := range r.Parameters {
		switch name {
		case "commands", "workingDirectory":
		case "executionTimeout":
			seconds, err := strconv.Atoi(strings.Join(values, ""))
			if err != nil || seconds < 1 || seconds > 172_800 {
				return nil, badRequest("InvalidParameters", "executionTimeout %q is not a number of seconds", values)
			}
			timeout = time.Duration(seconds) * time.Second
		default:
			return nil, badRequest("InvalidParameters", "The parameter %s is not one of the document's", name)
		}
	}
	var nodes []*Node
	for _, id := range r.InstanceIds {
		n := s.connectedNode(id, c.region)
		if n == nil || n.Run == nil || strings.HasPrefix(id, "ecs:") {
			return nil, badRequest("InvalidInstanceId", "Instances [[%s]] not in a valid state for account %s", id, accountID)
		}
		if n.PlatformType == "Windows" {
			return nil, badRequest("UnsupportedPlatformType", "%s does not run on Windows: %s", r.DocumentName, id)
		}
		nodes = append(nodes, n)
	}
	now := s.Now()
	info := commandInfo{
		CommandId: newID(), DocumentName: r.DocumentName, InstanceIds: r.InstanceIds, Parameters: r.Parameters, Comment: r.Comment,
		Status: "Pending", StatusDetails: "Pending", RequestedDateTime: epoch(now), ExpiresAfter: epoch(now.Add(2 * time.Hour)), TargetCount: len(nodes),
	}
	for _, n := range nodes {
		i := &invocation{
			CommandId: info.CommandId, InstanceId: n.ID, Comment: r.Comment, DocumentName: r.DocumentName, PluginName: "aws:runShellScript",
			ResponseCode: -1, Status: "Pending", StatusDetails: "Pending",
		}
		s.mu.Lock()
		s.invocations = append(s.invocations, i)
		s.mu.Unlock()
		s.wg.Go(func() { s.invoke(n, i, strings.Join(r.Parameters["commands"], "\n"), timeout) })
	}
	s.logf("%s: on %q", info.CommandId, r.InstanceIds)
	return commandResponse{info}, nil
}

// invoke runs a script on a node and keeps what becomes of it.
func (s *Server) invoke(n *Node, i *invocation, script string, timeout time.Duration) {
	select {
	case <-time.After(n.RunDelay):
	case <-s.ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	s.mu.Lock()
	i.Status, i.StatusDetails = "InProgress", "InProgress"
	i.ExecutionStartDateTime = s.Now().UTC().Format(time.RFC3339)
	s.mu.Unlock()
	stdout, stderr, exit := n.Run(ctx, script)
	s.mu.Lock()
	defer s.mu.Unlock()
	i.ResponseCode = exit
	i.StandardOutputContent, i.StandardErrorContent = truncated(stdout, stdoutLimit), truncated(stderr, stderrLimit)
	i.ExecutionEndDateTime = s.Now().UTC().Format(time.RFC3339)
	switch {
	case exit == 0:
		i.Status, i.StatusDetails = "Success", "Success"
	case ctx.Err() == context.DeadlineExceeded:
		i.Status, i.StatusDetails = "TimedOut", "ExecutionTimedOut"
	default:
		i.Status, i.StatusDetails = "Failed", "Failed"
	}
}

func truncated(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const mark = "\n--output truncated--"
	return s[:limit-len(mark)] + mark
}

// getCommandInvocation tells how far a command is on one node.
func (s *Server) getCommandInvocation(_ *apiCall, r *invocationRequest) (any, *ssmtest.APIError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.invocations, func(i *invocation) bool { return i.CommandId == r.CommandId && i.InstanceId == r.InstanceId })
	if n < 0 {
		return nil, badRequest("InvocationDoesNotExist", "An error occurred: command %s on %s does not exist", r.CommandId, r.InstanceId)
	}
	return *s.invocations[n], nil
}
