package awstest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

type inventoryRequest struct {
	Filters                       []inventoryFilter
	InstanceInformationFilterList []struct{} // of old; not here
	MaxResults                    *int
	NextToken                     string
}

type inventoryFilter struct {
	Key    string
	Values []string
}

type inventoryResponse struct {
	InstanceInformationList []nodeInformation
	NextToken               string `json:",omitempty"`
}

type nodeInformation struct {
	InstanceId       string
	PingStatus       string
	LastPingDateTime float64
	AgentVersion     string
	IsLatestVersion  bool
	PlatformType     string
	PlatformName     string
	PlatformVersion  string
	ActivationId     string  `json:",omitempty"`
	RegistrationDate float64 `json:",omitempty"`
	ResourceType     string
	Name             string `json:",omitempty"`
	IPAddress        string
	ComputerName     string
	SourceId         string
	SourceType       string
}

// epoch is a time as AWS JSON 1.1 has it.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// information is what Systems Manager says of n.
func (s *Server) information(n *Node) nodeInformation {
	agent := s.cfg.Agent
	if n.Agent != nil {
		agent = *n.Agent
	}
	i := nodeInformation{
		InstanceId: n.ID, PingStatus: "ConnectionLost", AgentVersion: cmp.Or(agent.Version, ssmtest.AgentVersion), IsLatestVersion: true,
		PlatformType: n.PlatformType, PlatformName: n.Platform, PlatformVersion: n.PlatformVersion,
		ResourceType: "EC2Instance", SourceType: "AWS::EC2::Instance", SourceId: n.ID,
		IPAddress: n.PrivateIP, ComputerName: n.Computer,
	}
	pinged := n.added.Add(-time.Hour)
	if s.connected(n) {
		i.PingStatus, pinged = "Online", s.Now().Add(-time.Minute)
	}
	if !n.Pinged.IsZero() {
		pinged = n.Pinged
	}
	i.LastPingDateTime = epoch(pinged)
	if managed(n.ID) {
		i.ResourceType, i.SourceType = "ManagedInstance", "AWS::SSM::ManagedInstance"
		i.ActivationId, i.RegistrationDate = "01234567-89ab-cdef-0123-456789abcdef", epoch(n.Launched)
		i.Name = n.Name
	}
	return i
}

// inventoryFields are what filters are about, besides tags.
var inventoryFields = map[string]func(*nodeInformation) string{
	"InstanceIds":   func(i *nodeInformation) string { return i.InstanceId },
	"AgentVersion":  func(i *nodeInformation) string { return i.AgentVersion },
	"PingStatus":    func(i *nodeInformation) string { return i.PingStatus },
	"PlatformTypes": func(i *nodeInformation) string { return i.PlatformType },
	"ResourceType":  func(i *nodeInformation) string { return i.ResourceType },
}

// inventoryWords are the values that a filter may have.
var inventoryWords = map[string][]string{
	"PingStatus":    {"Online", "ConnectionLost", "Inactive"},
	"PlatformTypes": {"Windows", "Linux", "MacOS"},
	"ResourceType":  {"EC2Instance", "ManagedInstance"},
}

func isTagFilter(key string) bool { return key == "tag-key" || strings.HasPrefix(key, "tag:") }

// check refuses what the service does.
func (r *inventoryRequest) check() *ssmtest.APIError {
	if r.MaxResults != nil && *r.MaxResults < 5 {
		return outOfRange(*r.MaxResults, "greater", 5)
	}
	if r.MaxResults != nil && *r.MaxResults > 50 {
		return outOfRange(*r.MaxResults, "less", 50)
	}
	if len(r.InstanceInformationFilterList) > 0 {
		return badRequest("ValidationException", "InstanceInformationFilterList is not served: use Filters")
	}
	tags := 0
	for _, f := range r.Filters {
		if len(f.Values) < 1 || len(f.Values) > 100 {
			return badRequest("ValidationException", "1 validation error detected: Value at 'filters.1.member.values' failed to satisfy constraint: Member must have length between 1 and 100")
		}
		words := inventoryWords[f.Key]
		switch {
		case isTagFilter(f.Key):
			tags++
			continue
		case inventoryFields[f.Key] == nil:
			return badRequest("InvalidFilterKey", "%s is not a valid filter key", f.Key)
		case f.Key == "ResourceType" && len(f.Values) > 1:
			return badRequest("InvalidInstanceInformationFilterValue", "ResourceType filter may contain only one value.")
		}
		for _, v := range f.Values {
			switch {
			case words != nil && !slices.Contains(words, v):
				return badRequest("InvalidInstanceInformationFilterValue", "%s filter is invalid, valid values are %s", f.Key, strings.Join(words, ", "))
			case f.Key == "InstanceIds" && !strings.HasPrefix(v, "i-") && !managed(v):
				return badRequest("InvalidInstanceId", "%s is not a valid instance id", v)
			}
		}
	}
	if tags > 0 && tags < len(r.Filters) {
		return badRequest("ValidationException", "Cannot mix tag or inventory filter with any other filter.")
	}
	return nil
}

func outOfRange(n int, than string, limit int) *ssmtest.APIError {
	return badRequest("ValidationException", "1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: "+
		"Member must have value %s than or equal to %d", n, than, limit)
}

// describeInstanceInformation lists the nodes whose agents have ever called in,
// but for those that are stopped or terminated, in another order than EC2's.
func (s *Server) describeInstanceInformation(c *apiCall, r *inventoryRequest) (any, *ssmtest.APIError) {
	if err := r.check(); err != nil {
		return nil, err
	}
	list := []nodeInformation{}
	for _, n := range slices.Backward(s.regionNodes(c.region)) {
		if n.NeverCalled || n.State == "stopped" || n.State == "terminated" {
			continue
		}
		if i := s.information(n); !slices.ContainsFunc(r.Filters, func(f inventoryFilter) bool { return !f.match(n, &i) }) {
			list = append(list, i)
		}
	}
	size := 10
	if r.MaxResults != nil {
		size = *r.MaxResults
	}
	part, next, ok := page(list, size, r.NextToken, c.region, r.Filters)
	if !ok {
		return nil, badRequest("InvalidNextToken", "The specified token isn't valid.")
	}
	return inventoryResponse{part, next}, nil
}

// match compares whole values: there are no wildcards here.
func (f *inventoryFilter) match(n *Node, i *nodeInformation) bool {
	if key, ok := strings.CutPrefix(f.Key, "tag:"); ok {
		value, ok := n.tag(key)
		return ok && slices.Contains(f.Values, value)
	}
	if f.Key == "tag-key" {
		return slices.ContainsFunc(n.tags(), func(t [2]string) bool { return slices.Contains(f.Values, t[0]) })
	}
	return slices.Contains(f.Values, inventoryFields[f.Key](i))
}
