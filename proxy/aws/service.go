package aws

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// service is Systems Manager, and what belongs to it, in one account and region.
type service struct {
	cfg     aws.Config
	profile string // of the configuration, as given
	account string
	warm    *awsapi.Warm // nil in another region than the first

	mu      sync.Mutex
	found   *foundTask // ECS's last description of a task, until it is used
	foundID string     // of its container
}

var _ interface {
	driver.Service
	driver.Starter
	driver.KeyPusher
	driver.Regional
	driver.SessionLister
	driver.ContainerLister
} = (*service)(nil)

func (s *service) Region() string { return s.cfg.Region }

func (s *service) CacheKey() []string {
	return []string{s.account, s.cfg.Region, s.profile, aws.ToString(s.cfg.BaseEndpoint)}
}

func (s *service) Release() {
	if s.warm != nil {
		s.warm.Drop()
	}
}

func (s *service) Close() { awsapi.CloseIdle(&s.cfg) }

// Inventory implements driver.Service.
func (s *service) Inventory(missing func(action string, err error)) driver.Inventory {
	return &view{s, inventory.New(s.cfg, missing)}
}

// view is an Inventory of instances, managed nodes and, by name, containers.
type view struct {
	s    *service
	from *inventory.Service
}

func (v *view) List(ctx context.Context, page func([]driver.Machine) error) error {
	return v.from.List(ctx, page)
}

func (v *view) Find(ctx context.Context, t driver.Target, anyCase bool) ([]driver.Machine, error) {
	parsed, err := parse(t.Text)
	switch {
	case err != nil:
		return nil, err
	case parsed.task != nil:
		id, err := v.s.findTask(ctx, parsed.task)
		if err != nil {
			return nil, err
		}
		return []driver.Machine{{ID: id, Region: v.s.cfg.Region}}, nil
	case isContainer(parsed.id):
		return []driver.Machine{{ID: parsed.id, Region: v.s.cfg.Region}}, nil
	case parsed.id != "":
		return v.from.Find(ctx, inventory.Query{IDs: []string{parsed.id}})
	}
	q := *parsed.query
	q.AnyCase = anyCase && q.Tag[0] != ""
	list, err := v.from.Find(ctx, q)
	if q.AnyCase {
		list = slices.DeleteFunc(list, func(m driver.Machine) bool {
			return !Driver{}.Names(t, &m) && !strings.EqualFold(m.Tags[q.Tag[0]], q.Tag[1])
		})
	}
	return list, err
}

// Start implements driver.Starter.
func (s *service) Start(ctx context.Context, id string) (started bool, err error) {
	_, err = ec2.NewFromConfig(s.cfg).StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	if awsapi.IsCode(err, "IncorrectInstanceState") { // it is still stopping
		return false, nil
	}
	return err == nil, err
}

// Regions implements driver.Regional. The result omits regions that the account
// has not opted in to.
func (s *service) Regions(ctx context.Context) (names []string, err error) {
	out, err := ec2.NewFromConfig(s.cfg).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return nil, err
	}
	for _, r := range out.Regions {
		names = append(names, aws.ToString(r.RegionName))
	}
	return names, nil
}

// In implements driver.Regional.
func (s *service) In(region string) driver.Service {
	there := &service{cfg: s.cfg.Copy(), profile: s.profile, account: s.account}
	there.cfg.Region = region
	return there
}
