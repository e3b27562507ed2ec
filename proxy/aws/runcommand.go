package aws

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/keys"
	"github.com/ssmpipe/ssmpipe/proxy/quote"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

var (
	//go:embed runcommand.sh
	pushScript string
	//go:embed runcommand-edit.sh
	editScript string
)

// How often to poll for the command's end: soon at first, since it takes about
// a second, then less and less often.
const (
	firstPoll = 200 * time.Millisecond
	lastPoll  = 3 * time.Second
)

// commandTime is how long the script may run on the machine, in seconds.
const commandTime = "30"

// runCommand makes a key known to user on a node with a shell script, and
// returns once the script has ended. The script removes the key again by
// itself.
func runCommand(ctx context.Context, cfg aws.Config, node, user, key string) error {
	api := ssm.NewFromConfig(cfg)
	sent, err := api.SendCommand(ctx, &ssm.SendCommandInput{
		DocumentName: aws.String("AWS-RunShellScript"),
		InstanceIds:  []string{node},
		Comment:      aws.String(fmt.Sprintf("ssmpipe: an SSH key for %s, for %v", user, keys.Time)),
		Parameters: map[string][]string{
			"commands":         {commandScript(user, key, keys.Time)},
			"executionTimeout": {commandTime},
		},
	})
	if err == nil && (sent.Command == nil || aws.ToString(sent.Command.CommandId) == "") {
		err = errors.New("SendCommand returned no command")
	}
	if err == nil {
		err = awaitCommand(ctx, api, *sent.Command.CommandId, node)
	}
	return awsapi.CauseOf(ctx, err)
}

// commandScript returns the script that runs on the machine. It counts life in
// whole seconds.
func commandScript(user, key string, life time.Duration) string {
	var b strings.Builder
	for _, v := range [][2]string{
		{"user", user},
		{"key", key},
		{"id", fmt.Sprintf("%x", rand.Text()[:8])}, // makes each line unique
		{"life", fmt.Sprintf("%.0f", life.Seconds())},
		{"edit", editScript},
	} {
		fmt.Fprintf(&b, "%s=%s\n", v[0], quote.Shell(v[1]))
	}
	return b.String() + pushScript
}

// awaitCommand waits for a command to end on a node.
func awaitCommand(ctx context.Context, api *ssm.Client, id, node string) error {
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		out, err := api.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: &id, InstanceId: &node})
		var missing *types.InvocationDoesNotExist // not visible everywhere yet
		switch {
		case errors.As(err, &missing):
			continue
		case err != nil:
			return err
		}
		switch out.Status {
		case types.CommandInvocationStatusPending, types.CommandInvocationStatusInProgress, types.CommandInvocationStatusDelayed:
		case types.CommandInvocationStatusSuccess:
			return nil
		default:
			return &commandError{aws.ToString(out.StatusDetails), aws.ToString(out.StandardErrorContent)}
		}
	}
}

// commandError says that the script failed.
type commandError struct{ status, stderr string }

func (e *commandError) Error() string {
	text := "the command on the machine ended with status " + e.status
	if lines := strings.Fields(e.stderr); len(lines) > 0 {
		text += ": " + strings.Join(lines, " ")
	}
	return safetext.Cut(text, 300)
}
