package examine

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// target looks for the target. Without EC2's word an instance may exist although
// it is not found.
func (e *examination) target(ctx context.Context) (f driver.Finding) {
	e.found, f = e.Doctor.Target(ctx, !e.allowed[inventory.EC2Action])
	if f.Status == driver.StatusWarning {
		f.Remedy = "see the permissions above"
	}
	return f
}

// ec2Instance reports whether the machine is an EC2 instance.
func ec2Instance(i driver.Machine) bool { return strings.HasPrefix(i.ID, "i-") }

func (e *examination) state(context.Context) driver.Finding {
	i := e.found
	switch {
	case !ec2Instance(i):
		return skipped("it is not an EC2 instance")
	case i.State == "":
		return skipped("EC2 did not report it; see ec2:DescribeInstances above")
	case i.State == "running":
		return ok("running for %s", safetext.Ago(i.Launched))
	}
	f := driver.Finding{Status: driver.StatusFailed, Detail: i.State}
	switch i.State {
	case "stopped":
		f.Remedy = fmt.Sprintf("start it with --start, or with \"aws ec2 start-instances --region %s --instance-ids %s\"", e.cfg.Region, i.ID)
	case "pending":
		f.Remedy = "wait until it is running"
	case "stopping":
		f.Remedy = "wait until it has stopped, and start it: --start does both"
	default:
		f.Remedy = "it will not come back: use another machine"
	}
	return f
}

func (e *examination) instanceProfile(context.Context) driver.Finding {
	i := e.found
	switch {
	case !ec2Instance(i):
		return skipped("it is not an EC2 instance")
	case i.State == "":
		return skipped("EC2 did not report it; see ec2:DescribeInstances above")
	case i.Profile != "":
		return ok("%s", i.Profile)
	case i.Online():
		return ok("none; the agent gets its role from Default Host Management")
	}
	return driver.Finding{Status: driver.StatusFailed, Detail: "none",
		Remedy: "attach an instance profile whose role has the policy AmazonSSMManagedInstanceCore, or turn on Default Host Management Configuration in Systems Manager"}
}

// agent checks whether the agent calls in.
func (e *examination) agent(context.Context) driver.Finding {
	i := e.found
	network := fmt.Sprintf("it can reach the ssm and ssmmessages endpoints of %s on port 443 (through NAT, or interface endpoints whose security group allows it)", e.cfg.Region)
	switch {
	case strings.HasPrefix(i.ID, "ecs:"):
		return skipped("only a session can tell")
	case i.Online():
		return ok("online, called in %s ago", safetext.Ago(i.Pinged))
	case !e.allowed[inventory.SSMAction]:
		return skipped("see ssm:DescribeInstanceInformation above")
	case i.Ping == "":
		role := "its role has the policy AmazonSSMManagedInstanceCore"
		if i.Profile == "" {
			role = "it has an instance profile whose role has the policy AmazonSSMManagedInstanceCore"
		}
		return driver.Finding{Status: driver.StatusFailed, Detail: "it has never called in",
			Remedy: fmt.Sprintf("check that %s; that %s; and that the agent is installed and running (\"systemctl status amazon-ssm-agent\")", role, network)}
	}
	return driver.Finding{Status: driver.StatusFailed, Detail: fmt.Sprintf("not connected (%s): it last called in %s ago, at %s",
		i.Ping, safetext.Ago(i.Pinged), i.Pinged.Local().Format("2006-01-02 15:04")),
		Remedy: fmt.Sprintf("check that the machine is not overloaded or hung; that the agent is running (\"systemctl restart amazon-ssm-agent\"); that %s; and that its role still has AmazonSSMManagedInstanceCore; a reboot often helps", network)}
}

// agentNeeds lists features and the version of the agent that introduced them.
// Sources: AWS's user guide ("Allow and control permissions for SSH connections",
// "Starting a session (port forwarding to remote host)", "Complete Session
// Manager prerequisites"), the agent's release notes, and protocol.md section 3.
var agentNeeds = []struct {
	since  string
	absent driver.Status
	what   string
}{
	{"2.3.672.0", driver.StatusFailed, "ssh and port forwarding"},
	{"2.3.722.1", driver.StatusWarning, "ending a session at once"},
	{"3.0.222.0", driver.StatusWarning, "ssh as AWS documents it"},
	{"3.0.196.1", driver.StatusWarning, "many connections over one session of ssmpipe forward"},
	{"3.1.1374.0", driver.StatusWarning, "--via, and forwards to hosts behind it"},
	{"3.1.1511.1", driver.StatusWarning, "an idle timeout for sessions of ssmpipe forward"},
}

func (e *examination) agentVersion(context.Context) driver.Finding {
	version := e.found.Agent
	if version == "" {
		return skipped("Systems Manager did not report it")
	}
	f := ok("%s", version)
	var absent []string
	for _, n := range agentNeeds {
		if !olderThan(version, n.since) {
			continue
		}
		absent = append(absent, fmt.Sprintf("%s (%s)", n.what, n.since))
		if f.Status != driver.StatusFailed {
			f.Status = n.absent
		}
	}
	if absent != nil {
		f.Detail += " is too old for " + strings.Join(absent, ", ")
		f.Remedy = fmt.Sprintf("update it: \"aws ssm send-command --region %s --document-name AWS-UpdateSSMAgent --instance-ids %s\"", e.cfg.Region, e.found.ID)
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
