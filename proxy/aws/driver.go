package aws

import (
	"cmp"
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/examine"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// Driver is the driver for AWS. With a Config it uses that instead of the
// environment's configuration, and ignores profiles.
type Driver struct{ Config *aws.Config }

var _ interface {
	driver.Driver
	driver.Adviser
	driver.Examiner
} = Driver{}

// Words implements driver.Driver.
func (Driver) Words() driver.Words {
	return driver.Words{Cloud: "AWS", Agent: "SSM agent", ID: "i-0123456789abcdef0"}
}

// Open implements driver.Driver.
func (d Driver) Open(life, ctx context.Context, a *driver.Account) (driver.Service, error) {
	s, err := d.open(life, ctx, a)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open returns the service with its configuration as far as it could be read,
// also if there is an error.
func (d Driver) open(life, ctx context.Context, a *driver.Account) (s *service, err error) {
	s = &service{profile: a.Profile}
	if d.Config != nil {
		s.cfg, s.account, s.warm, err = awsapi.Given(life, ctx, *d.Config, a)
	} else {
		s.cfg, s.account, s.warm, err = awsapi.Load(life, ctx, a)
	}
	if err != nil {
		s.Release()
	}
	return s, err
}

// Examine implements driver.Examiner.
func (d Driver) Examine(life context.Context, r *driver.ExamineRequest) (checks []driver.Check, end func()) {
	return examine.Checks(life, r, func(ctx context.Context, change func(*aws.Config)) (driver.Service, aws.Config, error) {
		s, err := d.open(life, ctx, r.Account)
		change(&s.cfg)
		return s, s.cfg, err
	}, SSHDocument)
}

// CacheKey implements driver.Driver.
func (Driver) CacheKey(a *driver.Account) []string {
	key := []string{
		cmp.Or(a.Profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE")),
		cmp.Or(a.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"} {
		key = append(key, os.Getenv(name))
	}
	return key
}

// Advise implements driver.Adviser.
func (Driver) Advise(m *driver.Machine) string {
	if m.Profile == "" {
		return "it has no instance profile: attach one whose role has the policy AmazonSSMManagedInstanceCore"
	}
	return ""
}
