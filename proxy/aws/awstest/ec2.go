package awstest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// ec2Service is EC2.
var ec2Service = &awsService{name: "ec2", version: "2016-11-15", operations: map[string]operation{
	"DescribeInstances": ec2Operation((*Server).describeInstances, false),
	"DescribeRegions":   ec2Operation((*Server).describeRegions, false),
	"StartInstances":    ec2Operation((*Server).startInstances, true),
}}

// ec2Operation is an operation that asks first whether it is allowed, and does
// nothing if that is all that its caller wants to know. One that changes
// something is about an instance.
func ec2Operation(f operation, changes bool) operation {
	return func(s *Server, c *apiCall) (any, *ssmtest.APIError) {
		resource := ""
		if changes {
			resource = fmt.Sprintf("arn:aws:ec2:%s:%s:instance/%s", c.region, accountID, c.form.Get("InstanceId.1"))
		}
		if err := s.allowed(c, resource); err != nil {
			return nil, err
		}
		if changes {
			if _, err := s.instances(c, c.list("InstanceId")); err != nil {
				return nil, err
			}
		}
		if c.form.Get("DryRun") == "true" {
			return nil, refusal(http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
		}
		return f(s, c)
	}
}

// list is a parameter NAME.1, NAME.2, …
func (c *apiCall) list(name string) []string {
	var values []string
	for i := 1; ; i++ {
		v, ok := c.form[name+"."+strconv.Itoa(i)]
		if !ok {
			return values
		}
		values = append(values, v[0])
	}
}

type reservations struct {
	Reservations []reservation `xml:"reservationSet>item"`
	NextToken    string        `xml:"nextToken,omitempty"`
}

type reservation struct {
	ID        string     `xml:"reservationId"`
	Owner     string     `xml:"ownerId"`
	Instances []instance `xml:"instancesSet>item"`
}

type instance struct {
	ID              string        `xml:"instanceId"`
	Image           string        `xml:"imageId"`
	State           instanceState `xml:"instanceState"`
	PrivateDNS      string        `xml:"privateDnsName"`
	PublicDNS       string        `xml:"dnsName"`
	Type            string        `xml:"instanceType"`
	Launched        string        `xml:"launchTime"`
	Zone            string        `xml:"placement>availabilityZone"`
	Platform        string        `xml:"platform,omitempty"`
	PlatformDetails string        `xml:"platformDetails"`
	PrivateIP       string        `xml:"privateIpAddress,omitempty"`
	PublicIP        string        `xml:"ipAddress,omitempty"`
	Profile         *profile      `xml:"iamInstanceProfile"`
	Tags            []instanceTag `xml:"tagSet>item"`
}

type profile struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type instanceTag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type instanceState struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

// stateCodes are EC2's numbers for its words.
var stateCodes = map[string]int{
	"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80,
}

// reservationSize is how many instances are launched together here, as if three
// calls of AddNode were one of RunInstances.
const reservationSize = 3

// describeInstances lists instances. Without MaxResults it lists all at once.
func (s *Server) describeInstances(c *apiCall) (any, *ssmtest.APIError) {
	ids := c.list("InstanceId")
	nodes, err := s.instances(c, ids)
	if err != nil {
		return nil, err
	}
	filters, err := instanceFilters(c)
	if err != nil {
		return nil, err
	}
	group := make(map[*Node]int, len(nodes))
	for i, n := range nodes {
		group[n] = i / reservationSize
	}
	nodes = slices.DeleteFunc(nodes, func(n *Node) bool {
		return len(ids) > 0 && !slices.Contains(ids, n.ID) || !filters.match(n)
	})
	size := len(nodes)
	if text := c.form.Get("MaxResults"); text != "" {
		if len(ids) > 0 {
			return nil, badRequest("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
		}
		var err error
		if size, err = strconv.Atoi(text); err != nil || size < 5 || size > 1000 {
			return nil, badRequest("InvalidParameterValue", "Value ( %s ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.", text)
		}
	}
	part, next, ok := page(nodes, size, c.form.Get("NextToken"), c.region, ids, filters)
	if !ok {
		return nil, badRequest("InvalidNextToken", "The specified NextToken is not valid.")
	}
	r := reservations{NextToken: next}
	last := -1
	for _, n := range part {
		if group[n] != last {
			last = group[n]
			r.Reservations = append(r.Reservations, reservation{ID: fmt.Sprintf("r-%017x", last+1), Owner: accountID})
		}
		of := &r.Reservations[len(r.Reservations)-1]
		of.Instances = append(of.Instances, n.instance())
	}
	return r, nil
}

// instances are the region's that EC2 knows. It is refused to ask for others by
// ids.
func (s *Server) instances(c *apiCall, ids []string) ([]*Node, *ssmtest.APIError) {
	all := slices.DeleteFunc(s.regionNodes(c.region), func(n *Node) bool { return managed(n.ID) })
	known := make(map[string]bool, len(all))
	for _, n := range all {
		known[n.ID] = true
	}
	var missing []string
	for _, id := range ids {
		switch {
		case known[id]: // whatever it looks like: tests have short ones
		case !instanceID.MatchString(id):
			hint := ""
			if !strings.HasPrefix(id, "i-") && strings.Contains(id, "-") {
				hint = ` (expecting "i-...")`
			}
			return nil, badRequest("InvalidInstanceID.Malformed", `Invalid id: "%s"%s`, id, hint)
		default:
			missing = append(missing, id)
		}
	}
	switch len(missing) {
	case 0:
		return all, nil
	case 1:
		return nil, badRequest("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", missing[0])
	default:
		return nil, badRequest("InvalidInstanceID.NotFound", "The instance IDs '%s' do not exist", strings.Join(missing, ", "))
	}
}

var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

func (n *Node) instance() instance {
	i := instance{
		ID: n.ID, Image: "ami-0123456789abcdef0", State: instanceState{stateCodes[n.State], n.State},
		Type: n.Type, Launched: n.Launched.UTC().Format(time.RFC3339), Zone: n.Zone,
		PlatformDetails: "Linux/UNIX",
	}
	if n.PlatformType == "Windows" {
		i.Platform, i.PlatformDetails = "windows", "Windows"
	}
	i.PrivateIP, i.PrivateDNS, i.PublicIP = n.addresses()
	if n.Profile != "" && n.State != "terminated" {
		i.Profile = &profile{ARN: fmt.Sprintf("arn:aws:iam::%s:instance-profile/%s", accountID, n.Profile), ID: "AIPACKCEVSFODNN7EXAMPLE"}
	}
	for _, t := range n.tags() {
		i.Tags = append(i.Tags, instanceTag{t[0], t[1]})
	}
	return i
}

// addresses are those that n has in its state.
func (n *Node) addresses() (private, dns, public string) {
	switch n.State {
	case "terminated":
		return "", "", ""
	case "stopped", "stopping":
		return n.PrivateIP, n.PrivateDNS, ""
	default:
		return n.PrivateIP, n.PrivateDNS, n.PublicIP
	}
}

type regionSet struct {
	Regions []regionItem `xml:"regionInfo>item"`
}

type regionItem struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

// describeRegions lists the server's.
func (s *Server) describeRegions(c *apiCall) (any, *ssmtest.APIError) {
	names := c.list("RegionName")
	for _, name := range names {
		if !slices.Contains(s.regions, name) {
			return nil, badRequest("InvalidParameterValue", "Invalid region provided: %s", name)
		}
	}
	var r regionSet
	for _, name := range s.regions {
		if len(names) == 0 || slices.Contains(names, name) {
			r.Regions = append(r.Regions, regionItem{name, "ec2." + name + ".amazonaws.com", "opt-in-not-required"})
		}
	}
	return r, nil
}
