package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// The permissions for the inventory. Each of them alone is enough for part of
// it.
const (
	EC2Action = "ec2:DescribeInstances"
	SSMAction = "ssm:DescribeInstanceInformation"
)

// Service asks EC2 and Systems Manager in one region. It is safe for concurrent
// use.
type Service struct {
	// The SDK's clients are not fields: a Service is held in an interface, and the
	// linker would then keep all of their methods, which take 30 MB.
	cfg    aws.Config
	failed func(action string, err error)

	mu   sync.Mutex
	told map[string]bool
}

// New returns a Service for cfg's region. If one of the two services cannot be
// asked, the other is still used, and failed is called once for each action.
func New(cfg aws.Config, failed func(action string, err error)) *Service {
	return &Service{
		cfg:    cfg,
		failed: failed,
		told:   make(map[string]bool),
	}
}

// Error says that neither service answered, or why the only one that could have
// did not.
type Error struct {
	EC2, SSM error // nil if not asked
}

func (e *Error) Error() string { return errors.Join(e.Unwrap()...).Error() }

// Unwrap returns the errors that are not nil.
func (e *Error) Unwrap() []error {
	return slices.DeleteFunc([]error{e.EC2, e.SSM}, func(err error) bool { return err == nil })
}

// tell reports a failure.
func (s *Service) tell(action string, err error) {
	s.mu.Lock()
	first := !s.told[action]
	s.told[action] = true
	s.mu.Unlock()
	if first && s.failed != nil {
		s.failed(action, err)
	}
}

// Query selects instances on the services' side. Exactly one field is set, not
// counting AnyCase.
type Query struct {
	IDs     []string
	Tag     [2]string // key and value
	AnyCase bool      // match the shape of Tag's value, because EC2 cannot ignore case
	IP      string    // private address
	Public  string    // public address, IPv4
	IPv6    string
	DNS     string // private name
	Managed bool   // nodes that are not EC2 instances
}

// there filters out instances that have been, or are being, terminated.
var there = ec2types.Filter{
	Name:   aws.String("instance-state-name"),
	Values: []string{"pending", "running", "stopping", "stopped"},
}

// ec2Filters returns nil if EC2 cannot answer the query.
func (q *Query) ec2Filters() []ec2types.Filter {
	filter := func(name string, values ...string) []ec2types.Filter {
		for i, v := range values {
			values[i] = literal.Replace(v)
		}
		return []ec2types.Filter{{Name: &name, Values: values}, there}
	}
	switch {
	case len(q.IDs) > 0:
		// Do not use InstanceIds: the whole call fails if one of them does not
		// exist.
		ids := slices.DeleteFunc(slices.Clone(q.IDs), func(id string) bool { return !strings.HasPrefix(id, "i-") })
		if len(ids) == 0 {
			return nil
		}
		return filter("instance-id", ids...)
	case q.Tag[0] != "" && q.AnyCase:
		return []ec2types.Filter{{Name: aws.String("tag:" + q.Tag[0]), Values: []string{shape(q.Tag[1])}}, there}
	case q.Tag[0] != "":
		return filter("tag:"+q.Tag[0], q.Tag[1])
	case q.IP != "":
		return filter("private-ip-address", q.IP)
	case q.Public != "":
		return filter("ip-address", q.Public)
	case q.IPv6 != "":
		return filter("ipv6-address", q.IPv6)
	case q.DNS != "":
		return filter("private-dns-name", q.DNS)
	}
	return nil
}

// literal escapes the characters that are special in EC2's filters.
var literal = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `\`, `\\`)

// shape returns a pattern for EC2's filters in which every letter matches any
// character.
func shape(text string) string {
	var b strings.Builder
	for _, r := range text {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			b.WriteByte('?')
		} else {
			b.WriteString(literal.Replace(string(r)))
		}
	}
	return b.String()
}

// ssmFilters returns nil if Systems Manager cannot answer the query, or has no
// filter for it.
func (q *Query) ssmFilters() []ssmtypes.InstanceInformationStringFilter {
	filter := func(key string, values ...string) []ssmtypes.InstanceInformationStringFilter {
		return []ssmtypes.InstanceInformationStringFilter{{Key: &key, Values: values}}
	}
	switch {
	case len(q.IDs) > 0:
		return filter("InstanceIds", q.IDs...)
	case q.Tag[0] != "":
		return filter("tag:"+q.Tag[0], q.Tag[1])
	case q.Managed:
		return filter("ResourceType", string(ssmtypes.ResourceTypeManagedInstance))
	}
	return nil
}

// addTime is how long Systems Manager may take to complete EC2's answer.
const addTime = 10 * time.Second

var errAddTime = fmt.Errorf("no answer within %v", addTime)

// Find returns the machines that q selects, with all that is known of them. It
// asks both services at once. If one of them fails, the result lacks what that
// one knows. If no service that can answer q does, Find returns an [Error].
func (s *Service) Find(ctx context.Context, q Query) ([]driver.Machine, error) {
	var (
		asking         sync.WaitGroup
		machines       []driver.Machine
		nodes          []ssmtypes.InstanceInformation
		ec2Err, ssmErr error
		fromEC2        = q.ec2Filters()
		fromSSM        = q.ssmFilters()
	)
	// Once EC2 has named machines, what Systems Manager adds is useful but not
	// worth a long wait: its calls may be throttled for long.
	adding, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	if fromEC2 != nil {
		asking.Go(func() {
			ec2Err = s.describe(ctx, fromEC2, func(page []driver.Machine) { machines = append(machines, page...) })
			if len(machines) > 0 {
				timer := time.AfterFunc(addTime, func() { enough(errAddTime) })
				context.AfterFunc(adding, func() { timer.Stop() })
			}
		})
	}
	if fromSSM != nil {
		asking.Go(func() {
			ssmErr = s.inform(adding, fromSSM, func(page []ssmtypes.InstanceInformation) { nodes = append(nodes, page...) })
		})
	}
	asking.Wait()
	if cause := context.Cause(ctx); cause != nil {
		for _, err := range []error{ec2Err, ssmErr} {
			if errors.Is(err, cause) {
				return nil, err // err may say more than cause
			}
		}
		return nil, cause
	}
	switch {
	case ec2Err != nil && (ssmErr != nil || fromSSM == nil), ssmErr != nil && fromEC2 == nil:
		return nil, &Error{ec2Err, ssmErr}
	case ec2Err != nil:
		s.tell(EC2Action, ec2Err)
	case ssmErr != nil:
		s.tell(SSMAction, ssmErr)
	}
	if fromSSM == nil && len(machines) > 0 {
		// Ask by id instead. The agents' state is useful, but not required.
		ids := make([]string, 0, len(machines))
		for _, m := range machines {
			ids = append(ids, m.ID)
		}
		nodes = s.pings(ctx, ids)
	}
	return s.merge(machines, nodes), nil
}

// merge adds Systems Manager's data to EC2's. A node that EC2 does not list is
// appended, unless it is an EC2 instance: then it no longer exists.
func (s *Service) merge(machines []driver.Machine, nodes []ssmtypes.InstanceInformation) []driver.Machine {
	place := make(map[string]int, len(machines))
	for i := range machines {
		place[machines[i].ID] = i
	}
	ec2Known := !s.isTold(EC2Action)
	for i := range nodes {
		id := aws.ToString(nodes[i].InstanceId)
		at, ok := place[id]
		switch {
		case ok:
		case ec2Known && strings.HasPrefix(id, "i-"):
			continue
		default:
			at = len(machines)
			place[id] = at
			machines = append(machines, driver.Machine{ID: id, Region: s.cfg.Region})
		}
		addNode(&machines[at], &nodes[i])
	}
	return machines
}

func (s *Service) isTold(action string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told[action]
}

// ec2Page is how many instances to ask for at once: enough to need few calls,
// few enough for the first to arrive soon.
const ec2Page = 500

// describe calls page with each page of EC2's instances. It makes the calls
// itself, because the SDK's paginators hold their client in an interface, and
// the linker then keeps all of EC2's methods, which take 30 MB.
func (s *Service) describe(ctx context.Context, filters []ec2types.Filter, page func([]driver.Machine)) error {
	in := ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(ec2Page)}
	client := ec2.NewFromConfig(s.cfg)
	for {
		out, err := client.DescribeInstances(ctx, &in)
		if err != nil {
			return err
		}
		var list []driver.Machine
		for _, r := range out.Reservations {
			for i := range r.Instances {
				list = append(list, s.instance(&r.Instances[i]))
			}
		}
		if len(list) > 0 {
			page(list)
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return nil
		}
	}
}

// inform calls page with each page of Systems Manager's nodes.
func (s *Service) inform(ctx context.Context, filters []ssmtypes.InstanceInformationStringFilter, page func([]ssmtypes.InstanceInformation)) error {
	in := ssm.DescribeInstanceInformationInput{Filters: filters, MaxResults: aws.Int32(ssmPage)}
	client := ssm.NewFromConfig(s.cfg)
	for {
		out, err := client.DescribeInstanceInformation(ctx, &in)
		if err != nil {
			return err
		}
		if len(out.InstanceInformationList) > 0 {
			page(out.InstanceInformationList)
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return nil
		}
	}
}

// instance converts EC2's description.
func (s *Service) instance(i *ec2types.Instance) driver.Machine {
	m := driver.Machine{
		ID:         aws.ToString(i.InstanceId),
		Region:     s.cfg.Region,
		Launched:   aws.ToTime(i.LaunchTime),
		PrivateIP:  aws.ToString(i.PrivateIpAddress),
		PrivateDNS: aws.ToString(i.PrivateDnsName),
		PublicIP:   aws.ToString(i.PublicIpAddress),
		Type:       string(i.InstanceType),
		Platform:   aws.ToString(i.PlatformDetails),
	}
	if i.State != nil {
		m.State = string(i.State.Name)
	}
	if i.Placement != nil {
		m.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	if i.IamInstanceProfile != nil {
		m.Profile = aws.ToString(i.IamInstanceProfile.Arn)
	}
	if len(i.Tags) > 0 {
		m.Tags = make(map[string]string, len(i.Tags))
	}
	for _, tag := range i.Tags {
		m.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	m.Name = m.Tags["Name"]
	return m
}

// addNode adds Systems Manager's description.
func addNode(m *driver.Machine, n *ssmtypes.InstanceInformation) {
	m.Ping = string(n.PingStatus)
	m.Pinged = aws.ToTime(n.LastPingDateTime)
	m.Agent = aws.ToString(n.AgentVersion)
	m.Computer = aws.ToString(n.ComputerName)
	if m.Name == "" {
		m.Name = aws.ToString(n.Name)
	}
	if m.PrivateIP == "" {
		m.PrivateIP = aws.ToString(n.IPAddress)
	}
	if name := aws.ToString(n.PlatformName); name != "" {
		m.Platform = strings.TrimSpace(fmt.Sprint(name, " ", aws.ToString(n.PlatformVersion)))
	}
}
