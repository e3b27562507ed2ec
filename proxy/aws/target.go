package aws

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// A task is ecs:CLUSTER/TASK[/CONTAINER].
type task struct{ Cluster, ID, Container string }

var (
	// serviceID matches the ids that the service accepts as is.
	serviceID = regexp.MustCompile(`^(m?i-[0-9A-Za-z]+|ecs:[!-.0-~]+_[!-.0-~]+_[!-.0-~]+)$`)

	// inRegion matches a region at the end of a name: web-1--eu-central-1.
	inRegion = regexp.MustCompile(`^(.+)--(` + awsapi.RegionPattern + `)$`)

	// privateName matches the names that EC2 assigns: ip-10-0-3-7.ec2.internal,
	// ip-10-0-3-7.eu-central-1.compute.internal,
	// i-….eu-central-1.compute.internal.
	privateName = regexp.MustCompile(`^[0-9A-Za-z-]+\.(ec2|[a-z0-9-]+\.compute)\.internal$`)
)

// target is a parsed target without its region. One field is set.
type target struct {
	id    string
	task  *task
	query *inventory.Query
}

// parse parses the user's name for a machine.
func parse(name string) (t target, err error) {
	addr, addrErr := netip.ParseAddr(strings.Trim(name, "[]"))
	prefix, rest, form := strings.Cut(name, ":")
	switch {
	case serviceID.MatchString(name):
		t.id = name
	case addrErr == nil:
		t.query = addressQuery(addr.WithZone("").Unmap())
	case form && prefix == "ecs":
		parts := strings.Split(rest, "/")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" || len(parts) == 3 && parts[2] == "" {
			return t, errors.New("a container is ecs:CLUSTER/TASK/CONTAINER")
		}
		t.task = &task{Cluster: parts[0], ID: parts[1]}
		if len(parts) == 3 {
			t.task.Container = parts[2]
		}
	case form && prefix == "tag":
		key, value, ok := strings.Cut(rest, "=")
		if !ok || key == "" {
			return t, errors.New("a tag is tag:KEY=VALUE")
		}
		t.query = &inventory.Query{Tag: [2]string{key, value}}
	case form && prefix == "asg":
		if rest == "" {
			return t, errors.New("an Auto Scaling group is asg:NAME")
		}
		t.query = &inventory.Query{Tag: [2]string{groupTag, rest}}
	case privateName.MatchString(name):
		t.query = &inventory.Query{DNS: name}
	default:
		t.query = &inventory.Query{Tag: [2]string{"Name", name}}
	}
	return t, nil
}

// Parse implements driver.Driver.
func (Driver) Parse(text string) (driver.Target, error) {
	d := driver.Target{Text: text}
	if m := inRegion.FindStringSubmatch(text); m != nil {
		d.Text, d.Region = m[1], m[2]
	}
	t, err := parse(d.Text)
	switch {
	case err != nil:
		return d, err
	case t.task != nil && t.task.Container == "":
		d.Prefix = fmt.Sprintf("ecs:%s_%s_", lastPart(t.task.Cluster), lastPart(t.task.ID))
	case t.query != nil && t.query.Tag[0] == "Name":
		d.Name = t.query.Tag[1]
	}
	d.ID = t.id
	return d, nil
}

// groupTag is the tag that an Auto Scaling group puts on its instances.
const groupTag = "aws:autoscaling:groupName"

// addressQuery returns a query for an address as EC2 knows it. A private
// network may use any address, but one that is not private by RFC 1918 or RFC
// 6598 is looked up as a public address first.
func addressQuery(addr netip.Addr) *inventory.Query {
	switch {
	case addr.Is6():
		return &inventory.Query{IPv6: addr.String()}
	case addr.IsPrivate(), shared.Contains(addr), addr.IsLinkLocalUnicast():
		return &inventory.Query{IP: addr.String()}
	}
	return &inventory.Query{Public: addr.String()}
}

var shared = netip.MustParsePrefix("100.64.0.0/10")

// Names implements driver.Driver. EC2 distinguishes kinds of addresses.
func (Driver) Names(t driver.Target, m *driver.Machine) bool {
	parsed, err := parse(t.Text)
	switch q := parsed.query; {
	case err != nil, q == nil:
		return false
	case q.Tag[0] == "Name":
		return strings.EqualFold(m.Name, q.Tag[1]) || strings.EqualFold(m.Computer, q.Tag[1]) || strings.EqualFold(m.PrivateDNS, q.Tag[1])
	case q.Tag[0] != "":
		return false
	case q.DNS != "":
		return strings.EqualFold(m.PrivateDNS, q.DNS) || strings.EqualFold(m.Computer, q.DNS)
	default:
		address := q.IP + q.Public + q.IPv6
		return m.PrivateIP == address || m.PublicIP == address
	}
}
