package awstest

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	static "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestEveryServiceChecksWhatItIsSignedFor(t *testing.T) {
	s := nodeServer(t, Config{Config: ssmtest.Config{SessionToken: "token"}}, Node{ID: id(1)})
	creds := credentials(s)
	for service, one := range map[string]struct {
		call                            func(aws.Config) error
		unsigned, otherKey, otherSecret string
	}{
		"ssm": {func(c aws.Config) error {
			_, err := ssm.NewFromConfig(c).DescribeInstanceInformation(t.Context(), nil)
			return err
		}, "MissingAuthenticationTokenException", "UnrecognizedClientException", "InvalidSignatureException"},
		"ec2": {func(c aws.Config) error {
			_, err := ec2.NewFromConfig(c).DescribeInstances(t.Context(), nil)
			return err
		}, "AuthFailure", "AuthFailure", "AuthFailure"},
		"sts": {func(c aws.Config) error {
			_, err := sts.NewFromConfig(c).GetCallerIdentity(t.Context(), nil)
			return err
		}, "MissingAuthenticationToken", "InvalidClientTokenId", "SignatureDoesNotMatch"},
	} {
		t.Run(service, func(t *testing.T) {
			good := sdk(s, "us-east-1")
			if err := one.call(good); err != nil {
				t.Error(err)
			}
			with := func(key, secret, token string) aws.Config {
				c := good.Copy()
				c.Credentials = static.NewStaticCredentialsProvider(key, secret, token)
				return c
			}
			unsigned := good.Copy()
			unsigned.Credentials = aws.AnonymousCredentials{}
			refused(t, "unsigned", one.call(unsigned), one.unsigned, 0)
			refused(t, "another key", one.call(with("AKIDOTHER", creds.SecretAccessKey, "token")), one.otherKey, 0)
			refused(t, "another secret", one.call(with(creds.AccessKeyID, "other", "token")), one.otherSecret, 0)
			refused(t, "another token", one.call(with(creds.AccessKeyID, creds.SecretAccessKey, "other")), one.otherKey, 0)
			refused(t, "another region", one.call(sdk(s, "eu-west-1")), one.otherSecret, 0)
		})
	}
}

func TestEachRegionHasItsNodes(t *testing.T) {
	s := nodeServer(t, Config{Config: ssmtest.Config{Region: "eu-central-1", Regions: []string{"us-east-1", "eu-west-1"}}},
		Node{ID: id(1)}, Node{ID: id(2), Region: "us-east-1"}, Node{ID: "mi-1", Region: "us-east-1"})
	for region, want := range map[string][]string{
		"eu-central-1": {id(1)}, "us-east-1": {id(2), "mi-1"}, "eu-west-1": nil,
	} {
		cfg := sdk(s, region)
		answer, err := ssm.NewFromConfig(cfg).DescribeInstanceInformation(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range answer.InstanceInformationList {
			got = append(got, *i.InstanceId)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: SSM says %q, want %q", region, got, want)
		}
		want = slices.DeleteFunc(want, managed)
		if got := listed(t, cfg, nil); !slices.Equal(got, want) {
			t.Errorf("%s: EC2 says %q, want %q", region, got, want)
		}
		_, err = ssm.NewFromConfig(cfg).StartSession(t.Context(), &ssm.StartSessionInput{
			Target: aws.String(id(2)), DocumentName: aws.String("AWS-StartSSHSession"),
		})
		if here := region == "us-east-1"; (err == nil) != here {
			t.Errorf("%s: StartSession of us-east-1's: %v", region, err)
		}
	}
	session := aws.String(s.Sessions()[0].ID())
	_, err := ssm.NewFromConfig(sdk(s, "eu-west-1")).ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: session})
	refused(t, "ResumeSession in another region", err, "DoesNotExistException", 400)
	_, err = ssm.NewFromConfig(sdk(s, "eu-west-1")).TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: session})
	refused(t, "TerminateSession in another region", err, "DoesNotExistException", 400)
	answer, err := ec2.NewFromConfig(sdk(s, "us-east-1")).DescribeRegions(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range answer.Regions {
		got = append(got, *r.RegionName)
	}
	if want := []string{"eu-central-1", "us-east-1", "eu-west-1"}; !slices.Equal(got, want) {
		t.Errorf("regions %q, want %q", got, want)
	}
	_, err = ec2.NewFromConfig(sdk(s, "us-east-1")).DescribeRegions(t.Context(), &ec2.DescribeRegionsInput{RegionNames: []string{"mars-1"}})
	refused(t, "a region that there is not", err, "InvalidParameterValue", 400)
}

func TestWhoCalls(t *testing.T) {
	s := nodeServer(t, Config{})
	s.DenyActions("sts:GetCallerIdentity") // has no effect, as with IAM
	answer, err := sts.NewFromConfig(sdk(s, "us-east-1")).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *answer.Arn, "arn:aws:iam::123456789012:user/example"; got != want || *answer.Account != "123456789012" || *answer.UserId == "" {
		t.Errorf("got %s %s %s", got, *answer.Account, *answer.UserId)
	}
}

func TestActionsAreDenied(t *testing.T) {
	s := nodeServer(t, Config{}, Node{ID: id(1)})
	cfg := sdk(s, "us-east-1")
	listEC2 := func() error {
		_, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{DryRun: aws.Bool(true)})
		return err
	}
	listSSM := func() error {
		_, err := ssm.NewFromConfig(cfg).DescribeInstanceInformation(t.Context(), nil)
		return err
	}
	s.DenyActions("ec2:DescribeInstances", "ssm:StartSession")
	got := refused(t, "EC2", listEC2(), "UnauthorizedOperation", 403)
	if want := "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/example is not authorized to perform: " +
		"ec2:DescribeInstances because no identity-based policy allows the ec2:DescribeInstances action"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := listSSM(); err != nil {
		t.Error(err)
	}
	_, err := ssm.NewFromConfig(cfg).StartSession(t.Context(), &ssm.StartSessionInput{Target: aws.String(id(1))})
	got = refused(t, "SSM", err, "AccessDeniedException", 400)
	if want := "User: arn:aws:iam::123456789012:user/example is not authorized to perform: ssm:StartSession on resource: " +
		"arn:aws:ec2:us-east-1:123456789012:instance/" + id(1) + " because no identity-based policy allows the ssm:StartSession action"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	s.DenyActions("ssm:DescribeInstanceInformation")
	refused(t, "SSM", listSSM(), "AccessDeniedException", 400)
	refused(t, "EC2, as nothing but a dry run", listEC2(), "DryRunOperation", 412)
	if n := s.Calls("DescribeInstances"); n != 2 {
		t.Errorf("%d calls of DescribeInstances", n)
	}
}

func TestThrottlingIsEachServicesOwn(t *testing.T) {
	s := nodeServer(t, Config{})
	s.OnAPI(Throttling)
	cfg := sdk(s, "us-east-1")
	_, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), nil)
	refused(t, "EC2", err, "RequestLimitExceeded", 503)
	_, err = ssm.NewFromConfig(cfg).DescribeInstanceInformation(t.Context(), nil)
	refused(t, "SSM", err, "ThrottlingException", 400)
	_, err = sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
	refused(t, "STS", err, "Throttling", 400)

	cfg.RetryMaxAttempts = 5
	s.OnAPI(func(operation string) *ssmtest.APIError {
		if s.Calls(operation) < 4 {
			return Throttling(operation)
		}
		return nil
	})
	if _, err = ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), nil); err != nil {
		t.Errorf("the SDK does not try again: %v", err)
	}
}

func TestTheServicesClockMayDiffer(t *testing.T) {
	s := nodeServer(t, Config{})
	call := func() error {
		_, err := ssm.NewFromConfig(sdk(s, "us-east-1")).DescribeInstanceInformation(t.Context(), nil)
		return err
	}
	for ahead, want := range map[time.Duration]string{
		6 * time.Minute:  "Signature expired: ",
		-6 * time.Minute: "Signature not yet current: ",
	} {
		s.SetClock(ahead)
		if got := refused(t, "SSM", call(), "InvalidSignatureException", 400); len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("%v ahead: %q", ahead, got)
		}
		r, err := (&http.Client{Transport: s.Transport()}).Post(s.URL(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		date, err := http.ParseTime(r.Header.Get("Date"))
		if skew := time.Until(date) - ahead; err != nil || skew.Abs() > 10*time.Second {
			t.Errorf("%v ahead: Date is %s", ahead, r.Header.Get("Date"))
		}
		cfg := sdk(s, "us-east-1")
		cfg.RetryMaxAttempts = 2
		if _, err := ssm.NewFromConfig(cfg).DescribeInstanceInformation(t.Context(), nil); err != nil {
			t.Errorf("the SDK does not follow the clock: %v", err)
		}
	}
	s.SetClock(6 * time.Minute)
	_, err := ec2.NewFromConfig(sdk(s, "us-east-1")).DescribeInstances(context.Background(), nil)
	refused(t, "EC2", err, "RequestExpired", 400)
	s.SetClock(0)
	if err := call(); err != nil {
		t.Error(err)
	}
}
