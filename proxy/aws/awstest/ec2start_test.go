package awstest

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

func TestAStoppedInstanceStarts(t *testing.T) {
	const boot, agent = 60 * time.Millisecond, 60 * time.Millisecond
	s := nodeServer(t, Config{}, Node{ID: id(1), State: "stopped", BootTime: boot, AgentTime: agent})
	cfg := sdk(s, "us-east-1")
	state := func() types.InstanceStateName {
		answer, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Reservations[0].Instances[0].State.Name
	}
	connects := func() bool {
		_, err := ssm.NewFromConfig(cfg).StartSession(t.Context(), &ssm.StartSessionInput{
			Target: aws.String(id(1)), DocumentName: aws.String("AWS-StartSSHSession"),
		})
		if err != nil {
			refused(t, "StartSession", err, "TargetNotConnected", 400)
		}
		return err == nil
	}
	if got := state(); got != "stopped" || connects() {
		t.Errorf("at first it is %s", got)
	}
	began := time.Now()
	answer, err := ec2.NewFromConfig(cfg).StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{id(1)}})
	if err != nil {
		t.Fatal(err)
	}
	if c := answer.StartingInstances[0]; *c.InstanceId != id(1) || c.PreviousState.Name != "stopped" || c.CurrentState.Name != "pending" || *c.PreviousState.Code != 80 {
		t.Errorf("the answer is %s: %s to %s", *c.InstanceId, c.PreviousState.Name, c.CurrentState.Name)
	}
	eventually(t, "it runs", func() bool { return state() == "running" })
	if took := time.Since(began); took < boot {
		t.Errorf("it ran after %v", took)
	}
	eventually(t, "it is connected", connects)
	if took := time.Since(began); took < boot+agent {
		t.Errorf("it was connected after %v", took)
	}
	if list := inventoried(t, cfg, &ssm.DescribeInstanceInformationInput{}); len(list) != 1 || list[0].PingStatus != "Online" {
		t.Errorf("Systems Manager says %+v", list)
	}
}

func TestStartInstancesRefuses(t *testing.T) {
	s := nodeServer(t, Config{}, Node{ID: id(1), State: "stopped"}, Node{ID: id(2), State: "stopping"}, Node{ID: id(3)}, Node{ID: id(4), State: "terminated"})
	client := ec2.NewFromConfig(sdk(s, "us-east-1"))
	start := func(dry bool, ids ...string) error {
		_, err := client.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: ids, DryRun: &dry})
		return err
	}
	refused(t, "a dry run", start(true, id(1)), "DryRunOperation", 412)
	refused(t, "what is stopping", start(false, id(1), id(2)), "IncorrectInstanceState", 400)
	refused(t, "what is terminated", start(false, id(4)), "IncorrectInstanceState", 400)
	refused(t, "what there is not", start(true, id(9)), "InvalidInstanceID.NotFound", 400)
	refused(t, "a name", start(false, "web"), "InvalidInstanceID.Malformed", 400)
	s.DenyActions("ec2:StartInstances")
	got := refused(t, "what is not allowed", start(true, id(1)), "UnauthorizedOperation", 403)
	want := "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/example is not authorized to perform: " +
		"ec2:StartInstances on resource: arn:aws:ec2:us-east-1:123456789012:instance/" + id(1) +
		" because no identity-based policy allows the ec2:StartInstances action. Encoded authorization failure message: " + encodedMessage
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	s.DenyActions()
	stopped := []types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"stopped"}}}
	if got := listed(t, sdk(s, "us-east-1"), &ec2.DescribeInstancesInput{Filters: stopped}); len(got) != 1 {
		t.Errorf("stopped, after all that was refused: %q", got)
	}
	if err := start(false, id(3)); err != nil {
		t.Errorf("what runs already: %v", err)
	}
}
