package examine

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// preferencesDocument is the document with the account's preferences in a region.
const preferencesDocument = "SSM-SessionManagerRunShell"

// permission is an action that can be tried without changing anything.
type permission struct {
	service string
	action  string
	missing driver.Status // the status if it is missing
	use     string        // what it is needed for
	on      func() []string
	try     func(context.Context) error
}

func (e *examination) permissions() []permission {
	all := func() []string { return []string{"*"} }
	return []permission{
		{"ec2", inventory.EC2Action, driver.StatusWarning, "names, addresses and states of EC2 instances", all, func(ctx context.Context) error {
			_, err := ec2.NewFromConfig(e.cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
			return err
		}},
		{"ssm", inventory.SSMAction, driver.StatusWarning, "the agents' status, and names of managed nodes", all, func(ctx context.Context) error {
			_, err := ssm.NewFromConfig(e.cfg).DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(5)})
			return err
		}},
		{"ssm", "ssm:GetDocument", driver.StatusWarning, "the account's preferences, below", func() []string {
			return []string{e.arn("ssm", "document/"+preferencesDocument)}
		}, func(ctx context.Context) error {
			out, err := ssm.NewFromConfig(e.cfg).GetDocument(ctx, &ssm.GetDocumentInput{Name: aws.String(preferencesDocument)})
			var none *ssmtypes.InvalidDocument
			switch {
			case err == nil:
				e.document = out.Content
			case errors.As(err, &none):
				return nil // no preference has been changed yet
			}
			return err
		}},
		{"ssm", "ssm:DescribeSessions", driver.StatusWarning, "\"ssmpipe sessions\"", all, func(ctx context.Context) error {
			_, err := ssm.NewFromConfig(e.cfg).DescribeSessions(ctx, &ssm.DescribeSessionsInput{State: ssmtypes.SessionStateActive, MaxResults: aws.Int32(1)})
			return err
		}},
	}
}

// startPermission is the permission to start a stopped machine.
func (e *examination) startPermission() permission {
	return permission{"ec2", "ec2:StartInstances", driver.StatusWarning, "--start", func() []string {
		return []string{e.arn("ec2", "instance/"+e.found.ID)}
	}, func(ctx context.Context) error {
		_, err := ec2.NewFromConfig(e.cfg).StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{e.found.ID}, DryRun: aws.Bool(true)})
		if awsapi.IsCode(err, "DryRunOperation") {
			return nil // it would have worked
		}
		return err
	}}
}

// start tries startPermission if the machine is stopped.
func (e *examination) start(ctx context.Context) driver.Finding {
	if e.found.State != "stopped" && e.found.State != "stopping" {
		return driver.Finding{}
	}
	return e.startPermission().look(e)(ctx)
}

// pushPermission is the permission to push a key. It is tried with a key whose
// private half is discarded.
func (e *examination) pushPermission() permission {
	return permission{"ec2-instance-connect", "ec2-instance-connect:SendSSHPublicKey", driver.StatusFailed, "--push-key", func() []string {
		return []string{e.arn("ec2", "instance/"+e.found.ID)}
	}, func(ctx context.Context) error {
		public, _, err := ed25519.GenerateKey(nil) // discard the private key
		if err != nil {
			return err
		}
		key, err := ssh.NewPublicKey(public)
		if err != nil {
			return err
		}
		_, err = ec2instanceconnect.NewFromConfig(e.cfg).SendSSHPublicKey(ctx, &ec2instanceconnect.SendSSHPublicKeyInput{
			InstanceId:     &e.found.ID,
			InstanceOSUser: &e.User,
			SSHPublicKey:   aws.String(string(ssh.MarshalAuthorizedKey(key))),
		})
		return err
	}}
}

// pushKey tries pushPermission for machines that EC2 Instance Connect supports.
func (e *examination) pushKey(ctx context.Context) driver.Finding {
	if !ec2Instance(e.found) {
		return skipped("EC2 Instance Connect supports only EC2 instances")
	}
	return e.pushPermission().look(e)(ctx)
}

// look returns a check that tries the action.
func (p permission) look(e *examination) func(context.Context) driver.Finding {
	return func(ctx context.Context) driver.Finding {
		err := p.try(ctx)
		f := e.tried(p.action, p.missing, p.use, err, p.on)
		e.allowed[p.action] = f.Status == driver.StatusOK
		f.Blocks = !e.allowed[p.action]
		return f
	}
}

// tried returns the finding for the result of trying an action, which is needed
// for use.
func (e *examination) tried(action string, missing driver.Status, use string, err error, on func() []string) driver.Finding {
	switch {
	case err == nil:
		return ok("allowed")
	case awsapi.Denied(err):
		return e.lacking(missing, action, use, err, on()...)
	}
	f := e.problem(missing, err)
	f.Detail = "not known: " + f.Detail
	return f
}

// lacking returns the finding that action is not allowed.
func (e *examination) lacking(missing driver.Status, action, use string, err error, resource ...string) driver.Finding {
	f := e.bad(missing, err, fmt.Sprintf("ask for %s, which is needed for %s, in an IAM policy:", action, use))
	if strings.Contains(f.Detail, "explicit deny") {
		f.Remedy = fmt.Sprintf("a policy explicitly denies %s, which is needed for %s, and no other policy can override that: ask for it to be changed, so that this is allowed:", action, use)
	}
	f.Allow = &driver.Statement{Effect: "Allow", Action: action, Resource: resource}
	return f
}

// arn returns the ARN of a resource in our account and region.
func (e *examination) arn(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", e.who.partition, service, e.cfg.Region, e.who.account, resource)
}

// targetARN returns the ARN of the resource of StartSession.
func (e *examination) targetARN() string {
	id := e.found.ID
	if cluster, task, ok := ecsParts(id); ok {
		return e.arn("ecs", "task/"+cluster+"/"+task)
	}
	if strings.HasPrefix(id, "mi-") {
		return e.arn("ssm", "managed-instance/"+id)
	}
	return e.arn("ec2", "instance/"+id)
}

// ecsParts splits ecs:CLUSTER_TASKID_RUNTIMEID. Only the cluster's name may
// contain _.
func ecsParts(id string) (cluster, task string, ok bool) {
	rest, ok := strings.CutPrefix(id, "ecs:")
	parts := strings.Split(rest, "_")
	if n := len(parts); ok && n >= 3 {
		return strings.Join(parts[:n-2], "_"), parts[n-2], true
	}
	return "", "", false
}

// sessionARN returns an ARN that matches our own sessions: IAM substitutes the
// user id.
func (e *examination) sessionARN() string {
	return fmt.Sprintf("arn:%s:ssm:*:*:session/${aws:userid}-*", e.who.partition)
}

// documentARN returns the ARN of a document. AWS's own documents belong to no
// account.
func (e *examination) documentARN(name string) string {
	account := ""
	if !strings.HasPrefix(name, "AWS-") {
		account = e.who.account
	}
	return fmt.Sprintf("arn:%s:ssm:%s:%s:document/%s", e.who.partition, e.cfg.Region, account, name)
}
