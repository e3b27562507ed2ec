package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// target resolves the target as "ssmpipe proxy" does.
func (d *doctor) target(ctx context.Context) Finding {
	c := d.client
	m, err := c.LookUp(ctx)
	var several *machine.SeveralError
	switch {
	case errors.As(err, &several):
		return bad(StatusFailed, fmt.Errorf("%w: %s", err, strings.Join(several.Lines(), "; ")), d.o.Next(err))
	case err != nil && c.Target.ID != "" && (inventory.Denied(err) || errors.Is(err, machine.ErrNoMachine) && d.blocked("permission "+inventory.EC2Action)):
		m = machine.Machine{ID: c.Target.ID} // an id alone is enough for a session
		d.found.ID = m.ID
		c.At = m
		return Finding{Status: StatusWarning, Detail: c.Target.ID + ", of which nothing is known", Remedy: "see the permissions above"}
	case err != nil:
		return bad(StatusFailed, err, d.o.Next(err))
	}
	c.At = m
	d.found.ID = m.ID
	if m.Known != nil {
		d.found = *m.Known
	}
	return ok("%s", describe(d.found))
}

// describe describes a machine in a few words.
func describe(i inventory.Instance) string {
	var words []string
	for _, word := range []string{i.Name, i.PrivateIP, i.Type, i.Platform} {
		if word != "" {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return i.ID
	}
	return i.ID + " (" + strings.Join(words, ", ") + ")"
}

// ec2Instance reports whether the machine is an EC2 instance.
func ec2Instance(i inventory.Instance) bool { return strings.HasPrefix(i.ID, "i-") }

func (d *doctor) state(context.Context) Finding {
	i := d.found
	switch {
	case !ec2Instance(i):
		return skipped("it is not an EC2 instance")
	case i.State == "":
		return skipped("EC2 has not said; see ec2:DescribeInstances above")
	case i.State == "running":
		return ok("running for %s", machine.Ago(i.Launched))
	}
	f := Finding{Status: StatusFailed, Detail: i.State}
	switch i.State {
	case "stopped":
		f.Remedy = fmt.Sprintf("start it: --start does, or \"aws ec2 start-instances --region %s --instance-ids %s\"", d.cfg.Region, i.ID)
	case "pending":
		f.Remedy = "wait until it runs"
	case "stopping":
		f.Remedy = "wait until it has stopped, and start it: --start does both"
	default:
		f.Remedy = "it will not come back: give another"
	}
	return f
}

func (d *doctor) instanceProfile(context.Context) Finding {
	i := d.found
	switch {
	case !ec2Instance(i):
		return skipped("it is not an EC2 instance")
	case i.State == "":
		return skipped("EC2 has not said; see ec2:DescribeInstances above")
	case i.Profile != "":
		return ok("%s", i.Profile)
	case i.Online():
		return ok("none; the agent has its role from Default Host Management")
	}
	return Finding{Status: StatusFailed, Detail: "none",
		Remedy: "attach an instance profile whose role has the policy AmazonSSMManagedInstanceCore, or turn on Default Host Management Configuration in Systems Manager"}
}

// agent checks whether the agent calls in.
func (d *doctor) agent(context.Context) Finding {
	i := d.found
	network := fmt.Sprintf("it has a way to the ssm and ssmmessages endpoints of %s on port 443 (NAT, or interface endpoints whose security group lets it in)", d.cfg.Region)
	switch {
	case strings.HasPrefix(i.ID, "ecs:"):
		return skipped("only a session shows it")
	case i.Online():
		return ok("online, called in %s ago", machine.Ago(i.Pinged))
	case d.blocked("permission " + inventory.SSMAction):
		return skipped("see ssm:DescribeInstanceInformation above")
	case i.Ping == "":
		role := "its role has the policy AmazonSSMManagedInstanceCore"
		if i.Profile == "" {
			role = "it has an instance profile whose role has the policy AmazonSSMManagedInstanceCore"
		}
		return Finding{Status: StatusFailed, Detail: "it has never called in",
			Remedy: fmt.Sprintf("check that %s; that %s; and that the agent is installed and runs (\"systemctl status amazon-ssm-agent\")", role, network)}
	}
	return Finding{Status: StatusFailed, Detail: fmt.Sprintf("not connected (%s): it called in %s ago, at %s",
		i.Ping, machine.Ago(i.Pinged), i.Pinged.Local().Format("2006-01-02 15:04")),
		Remedy: fmt.Sprintf("check that the machine is not overloaded or hung; that the agent runs (\"systemctl restart amazon-ssm-agent\"); that %s; and that its role still has AmazonSSMManagedInstanceCore; a reboot often mends it", network)}
}

// agentNeeds lists features and the version of the agent that introduced them.
// Sources: AWS's user guide ("Allow and control permissions for SSH connections",
// "Starting a session (port forwarding to remote host)", "Complete Session
// Manager prerequisites"), the agent's release notes, and protocol.md section 3.
var agentNeeds = []struct {
	since  string
	absent Status
	what   string
}{
	{"2.3.672.0", StatusFailed, "ssh and port forwarding"},
	{"2.3.722.1", StatusWarning, "ending a session at once"},
	{"3.0.222.0", StatusWarning, "ssh as AWS supports it"},
	{"3.0.196.1", StatusWarning, "many connections over one session of ssmpipe forward"},
	{"3.1.1374.0", StatusWarning, "--via, and forwards to hosts behind it"},
	{"3.1.1511.1", StatusWarning, "an idle timeout for sessions of ssmpipe forward"},
}

func (d *doctor) agentVersion(context.Context) Finding {
	version := d.found.Agent
	if version == "" {
		return skipped("Systems Manager has not said")
	}
	f := ok("%s", version)
	var absent []string
	for _, n := range agentNeeds {
		if !olderThan(version, n.since) {
			continue
		}
		absent = append(absent, fmt.Sprintf("%s (%s)", n.what, n.since))
		if f.Status != StatusFailed {
			f.Status = n.absent
		}
	}
	if absent != nil {
		f.Detail += " is too old for " + strings.Join(absent, ", ")
		f.Remedy = fmt.Sprintf("update it: \"aws ssm send-command --region %s --document-name AWS-UpdateSSMAgent --instance-ids %s\"", d.cfg.Region, d.found.ID)
	}
	return f
}

// olderThan compares versions number by number.
func olderThan(version, limit string) bool {
	a, b := strings.Split(version, "."), strings.Split(limit, ".")
	for i := range min(len(a), len(b)) {
		x, _ := strconv.Atoi(a[i])
		y, _ := strconv.Atoi(b[i])
		if order := cmp.Compare(x, y); order != 0 {
			return order < 0
		}
	}
	return len(a) < len(b)
}
