package machine

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
)

// ErrTarget says that a target is malformed.
var ErrTarget = errors.New("not a target")

// Target is a parsed target: the user's name for a machine.
type Target struct {
	Text   string           // as given, without suffixes
	Region string           // "" if the text names none
	ID     string           // an id that the service accepts as is; "" for a name
	Task   *task            // the task of a container
	query  *inventory.Query // otherwise
}

// RegionPattern matches region names of all partitions, and hardly any other
// name. A test compares it with the SDK's list.
const RegionPattern = `(?:[a-z]{2}|eusc)(?:-[a-z]+)+-[0-9]{1,2}`

// A task is ecs:CLUSTER/TASK[/CONTAINER].
type task struct{ Cluster, ID, Container string }

var (
	// ServiceID matches the ids that the service accepts as is.
	ServiceID = regexp.MustCompile(`^(m?i-[0-9A-Za-z]+|ecs:[!-.0-~]+_[!-.0-~]+_[!-.0-~]+)$`)

	// inRegion matches a region at the end of a name: web-1--eu-central-1.
	inRegion = regexp.MustCompile(`^(.+)--(` + RegionPattern + `)$`)

	// privateName matches the names that EC2 assigns: ip-10-0-3-7.ec2.internal,
	// ip-10-0-3-7.eu-central-1.compute.internal,
	// i-….eu-central-1.compute.internal.
	privateName = regexp.MustCompile(`^[0-9A-Za-z-]+\.(ec2|[a-z0-9-]+\.compute)\.internal$`)
)

// ParseTarget parses the user's name for a machine. It removes suffix if
// present.
func ParseTarget(text, suffix string) (t Target, err error) {
	wrong := func(format string, args ...any) (Target, error) {
		return t, fmt.Errorf("%q is %w: %s", text, ErrTarget, fmt.Sprintf(format, args...))
	}
	t.Text = text
	if at := len(text) - len(suffix); at > 0 && strings.EqualFold(text[at:], suffix) {
		t.Text = text[:at]
	}
	if m := inRegion.FindStringSubmatch(t.Text); m != nil {
		t.Text, t.Region = m[1], m[2]
	}
	if t.Text == "" {
		return wrong("it is empty")
	}
	if strings.HasPrefix(t.Text, "-") {
		return wrong("it begins with -")
	}
	name := t.Text
	addr, addrErr := netip.ParseAddr(strings.Trim(name, "[]"))
	prefix, rest, form := strings.Cut(name, ":")
	switch {
	case ServiceID.MatchString(name):
		t.ID = name
	case addrErr == nil:
		t.query = addressQuery(addr.WithZone("").Unmap())
	case form && prefix == "ecs":
		parts := strings.Split(rest, "/")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" || len(parts) == 3 && parts[2] == "" {
			return wrong("a container is ecs:CLUSTER/TASK/CONTAINER")
		}
		t.Task = &task{Cluster: parts[0], ID: parts[1]}
		if len(parts) == 3 {
			t.Task.Container = parts[2]
		}
	case form && prefix == "tag":
		key, value, ok := strings.Cut(rest, "=")
		if !ok || key == "" {
			return wrong("a tag is tag:KEY=VALUE")
		}
		t.query = &inventory.Query{Tag: [2]string{key, value}}
	case form && prefix == "asg":
		if rest == "" {
			return wrong("an Auto Scaling group is asg:NAME")
		}
		t.query = &inventory.Query{Tag: [2]string{groupTag, rest}}
	case privateName.MatchString(name):
		t.query = &inventory.Query{DNS: name}
	default:
		t.query = &inventory.Query{Tag: [2]string{"Name", name}}
	}
	return t, nil
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

// names reports whether the target names m where the services' filters are
// stricter than people are: ssh lowercases host names, and EC2 distinguishes
// kinds of addresses.
func (t *Target) names(m *inventory.Instance) bool {
	switch q := t.query; {
	case q == nil:
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
