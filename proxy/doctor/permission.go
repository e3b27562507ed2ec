package doctor

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

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// preferencesDocument is the document with the account's preferences in a region.
const preferencesDocument = "SSM-SessionManagerRunShell"

// permission is an action that can be tried without changing anything.
type permission struct {
	service string
	action  string
	missing Status // the status if it is missing
	use     string // what it is needed for
	on      func() []string
	try     func(context.Context) error
}

func (d *doctor) permissions() []permission {
	all := func() []string { return []string{"*"} }
	return []permission{
		{"ec2", inventory.EC2Action, StatusWarning, "names, addresses and states of EC2 instances", all, func(ctx context.Context) error {
			_, err := ec2.NewFromConfig(d.cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
			return err
		}},
		{"ssm", inventory.SSMAction, StatusWarning, "what the agents say, and names of managed nodes", all, func(ctx context.Context) error {
			_, err := ssm.NewFromConfig(d.cfg).DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(5)})
			return err
		}},
		{"ssm", "ssm:GetDocument", StatusWarning, "the account's preferences, below", func() []string {
			return []string{d.arn("ssm", "document/"+preferencesDocument)}
		}, func(ctx context.Context) error {
			out, err := ssm.NewFromConfig(d.cfg).GetDocument(ctx, &ssm.GetDocumentInput{Name: aws.String(preferencesDocument)})
			var none *ssmtypes.InvalidDocument
			switch {
			case err == nil:
				d.document = out.Content
			case errors.As(err, &none):
				return nil // no preference has been changed yet
			}
			return err
		}},
		{"ssm", "ssm:DescribeSessions", StatusWarning, "\"ssmpipe sessions\"", all, func(ctx context.Context) error {
			_, err := ssm.NewFromConfig(d.cfg).DescribeSessions(ctx, &ssm.DescribeSessionsInput{State: ssmtypes.SessionStateActive, MaxResults: aws.Int32(1)})
			return err
		}},
	}
}

// startPermission is the permission to start a stopped machine.
func (d *doctor) startPermission() permission {
	return permission{"ec2", "ec2:StartInstances", StatusWarning, "--start", func() []string {
		return []string{d.arn("ec2", "instance/"+d.found.ID)}
	}, func(ctx context.Context) error {
		_, err := ec2.NewFromConfig(d.cfg).StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{d.found.ID}, DryRun: aws.Bool(true)})
		if machine.IsCode(err, "DryRunOperation") {
			return nil // it would have worked
		}
		return err
	}}
}

// start tries startPermission if the machine is stopped.
func (d *doctor) start(ctx context.Context) Finding {
	if d.found.State != "stopped" && d.found.State != "stopping" {
		return Finding{}
	}
	return d.startPermission().look(d)(ctx)
}

// pushPermission is the permission to push a key. It is tried with a key whose
// private half is discarded.
func (d *doctor) pushPermission() permission {
	return permission{"ec2-instance-connect", "ec2-instance-connect:SendSSHPublicKey", StatusFailed, "--push-key", func() []string {
		return []string{d.arn("ec2", "instance/"+d.found.ID)}
	}, func(ctx context.Context) error {
		public, _, err := ed25519.GenerateKey(nil) // discard the private key
		if err != nil {
			return err
		}
		key, err := ssh.NewPublicKey(public)
		if err != nil {
			return err
		}
		_, err = ec2instanceconnect.NewFromConfig(d.cfg).SendSSHPublicKey(ctx, &ec2instanceconnect.SendSSHPublicKeyInput{
			InstanceId:     &d.found.ID,
			InstanceOSUser: &d.o.User,
			SSHPublicKey:   aws.String(string(ssh.MarshalAuthorizedKey(key))),
		})
		return err
	}}
}

// pushKey tries pushPermission for machines that EC2 Instance Connect supports.
func (d *doctor) pushKey(ctx context.Context) Finding {
	if !ec2Instance(d.found) {
		return skipped("EC2 Instance Connect is for EC2's instances")
	}
	return d.pushPermission().look(d)(ctx)
}

// look returns a check that tries the action.
func (p permission) look(d *doctor) func(context.Context) Finding {
	return func(ctx context.Context) Finding {
		err := p.try(ctx)
		f := d.allowed(p.action, p.missing, p.use, err, p.on)
		if f.Status != StatusOK {
			d.block("permission " + p.action)
		}
		return f
	}
}

// allowed returns the finding for the result of trying an action, which is needed
// for use.
func (d *doctor) allowed(action string, missing Status, use string, err error, on func() []string) Finding {
	switch {
	case err == nil:
		return ok("allowed")
	case machine.Denied(err):
		return d.lacking(missing, action, use, err, on()...)
	}
	f := bad(missing, err, d.o.Next(err))
	f.Detail = "not known: " + f.Detail
	return f
}

// lacking returns the finding that action is not allowed.
func (d *doctor) lacking(missing Status, action, use string, err error, resource ...string) Finding {
	f := bad(missing, err, fmt.Sprintf("ask for %s, which is needed for %s, in an IAM policy:", action, use))
	if strings.Contains(f.Detail, "explicit deny") {
		f.Remedy = fmt.Sprintf("a policy forbids %s, which is needed for %s: ask for that to be changed, for no other policy can outweigh it; this would have to hold:", action, use)
	}
	f.Allow = &Statement{"Allow", action, resource}
	return f
}

// arn returns the ARN of a resource in our account and region.
func (d *doctor) arn(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", d.who.partition, service, d.cfg.Region, d.who.account, resource)
}

// targetARN returns the ARN of the resource of StartSession.
func (d *doctor) targetARN() string {
	id := d.found.ID
	if cluster, task, ok := ecsParts(id); ok {
		return d.arn("ecs", "task/"+cluster+"/"+task)
	}
	if strings.HasPrefix(id, "mi-") {
		return d.arn("ssm", "managed-instance/"+id)
	}
	return d.arn("ec2", "instance/"+id)
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
func (d *doctor) sessionARN() string {
	return fmt.Sprintf("arn:%s:ssm:*:*:session/${aws:userid}-*", d.who.partition)
}

// documentARN returns the ARN of a document. AWS's own documents belong to no
// account.
func (d *doctor) documentARN(name string) string {
	account := ""
	if !strings.HasPrefix(name, "AWS-") {
		account = d.who.account
	}
	return fmt.Sprintf("arn:%s:ssm:%s:%s:document/%s", d.who.partition, d.cfg.Region, account, name)
}
