package awstest

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// None, as a text of a Node's whose "" stands for something, is that there is
// no such thing.
const None = "-"

// Node is a managed instance. One whose ID begins with mi- is a machine
// elsewhere that Systems Manager manages: EC2 does not know it. All others are
// EC2's.
type Node struct {
	ID     string
	Region string // as of ssmtest's

	// Node is what sessions find there: its ID and Region are those above. Where
	// it is NotConnected, Systems Manager says ConnectionLost.
	ssmtest.Node

	// NeverCalled is an agent that has not called in yet: StartSession answers
	// TargetNotConnected, and Systems Manager has not heard of the node.
	NeverCalled bool

	// Name is the tag Name, and of a mi- node also the name that Systems Manager
	// has for it. ASG, if not "", is the tag aws:autoscaling:groupName.
	Name, ASG string
	Tags      map[string]string // the others; not to be changed any more

	// State is pending, running, which "" stands for, shutting-down, terminated,
	// stopping or stopped. Only what is running has an agent that is connected.
	// What is stopped or terminated is not in Systems Manager's inventory.
	State string

	// What EC2 says of it. "" is something sensible, None is nothing; without a
	// private address there is no DNS name either. PublicIP is none when it is
	// "". Profile is the name of an instance profile.
	PrivateIP, PrivateDNS, PublicIP string
	Type, Zone, Profile             string
	Launched                        time.Time // zero: an hour before it was added

	// What Systems Manager says of it: "" is Amazon Linux 2023.
	Platform, PlatformVersion string
	PlatformType              string // Linux, Windows or MacOS
	Computer                  string // "" is PrivateDNS

	// Pinged is when the agent was last heard of. Zero is, of one that is
	// connected, a minute ago, and of one that is not, an hour before it was
	// added.
	Pinged time.Time

	// BootTime is how long StartInstances takes to bring it from pending to
	// running, AgentTime how long its agent takes from there to be connected. (One
	// that is NotConnected or NeverCalled does not become so by it.)
	BootTime, AgentTime time.Duration

	// SessionTime is how long after that, with the agent Online, StartSession
	// answers TargetNotConnected still, as AWS's does.
	SessionTime time.Duration

	// Run is what SendCommand does: it runs a script as root's shell would. It
	// must end with ctx, which ends with the command's time or the Server. RunDelay
	// is how long the command is Pending before. Without Run the node takes no
	// commands.
	Run      func(ctx context.Context, script string) (stdout, stderr string, exit int)
	RunDelay time.Duration

	added, started time.Time // by AddNode, by StartInstances
}

// managed tells the ids of nodes that EC2 does not know.
func managed(id string) bool { return strings.HasPrefix(id, "mi-") }

// AddNode adds a node, or replaces the one with its ID for sessions to come.
func (s *Server) AddNode(n Node) {
	n.fill(s.cfg.Region, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[n.ID] == nil {
		s.ids = append(s.ids, n.ID)
	}
	s.nodes[n.ID] = &n
	s.Server.AddNode(n.Node)
}

// fill sets what is to have a default.
func (n *Node) fill(region string, now time.Time) {
	set := func(p *string, v string) {
		switch *p {
		case "":
			*p = v
		case None:
			*p = ""
		}
	}
	n.ID = cmp.Or(n.ID, n.Node.ID)
	n.Region = cmp.Or(n.Region, n.Node.Region, region)
	n.Node.ID, n.Node.Region = n.ID, n.Region
	h := fnv.New32a()
	h.Write([]byte(n.ID))
	sum := h.Sum32()
	n.added = now
	set(&n.State, "running")
	set(&n.PrivateIP, fmt.Sprintf("10.%d.%d.%d", sum>>16&0xff, sum>>8&0xff, sum&0xff))
	if n.PrivateIP == "" {
		n.PrivateDNS = None
	}
	domain := n.Region + ".compute.internal"
	if n.Region == "us-east-1" {
		domain = "ec2.internal"
	}
	set(&n.PrivateDNS, "ip-"+strings.ReplaceAll(n.PrivateIP, ".", "-")+"."+domain)
	set(&n.Type, "t3.micro")
	set(&n.Zone, n.Region+"a")
	set(&n.Profile, "ssmtest")
	set(&n.Platform, "Amazon Linux")
	set(&n.PlatformVersion, "2023")
	set(&n.PlatformType, "Linux")
	set(&n.Computer, n.PrivateDNS)
	if n.Launched.IsZero() {
		n.Launched = now.Add(-time.Hour)
	}
}

// tag returns the value of one of all tags.
func (n *Node) tag(key string) (value string, ok bool) {
	switch {
	case key == "Name" && n.Name != "":
		return n.Name, true
	case key == asgTag && n.ASG != "":
		return n.ASG, true
	}
	value, ok = n.Tags[key]
	return value, ok
}

// asgTag is how EC2 Auto Scaling marks what it has launched.
const asgTag = "aws:autoscaling:groupName"

// tags are all tags, sorted by key, each a key and a value.
func (n *Node) tags() [][2]string {
	list := make([][2]string, 0, len(n.Tags)+2)
	for k := range n.Tags {
		if k != "Name" && k != asgTag {
			list = append(list, [2]string{k, n.Tags[k]})
		}
	}
	for _, k := range []string{"Name", asgTag} {
		if v, ok := n.tag(k); ok {
			list = append(list, [2]string{k, v})
		}
	}
	slices.SortFunc(list, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return list
}

// node returns a node in the state that it has come to, or nil.
func (s *Server) node(id string) *Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current(id)
}

// current is node with s.mu held.
func (s *Server) current(id string) *Node {
	n := s.nodes[id]
	if n != nil && n.State == "pending" && !n.started.IsZero() && time.Since(n.started) >= n.BootTime {
		running := *n
		running.State = "running"
		n = &running
		s.nodes[id] = n
	}
	return n
}

// connected tells whether n's agent is.
func (s *Server) connected(n *Node) bool {
	return n.State == "running" && !n.NotConnected && !n.NeverCalled && !s.Rebooting(n.ID) &&
		time.Since(n.started) >= n.BootTime+n.AgentTime
}

// connectedNode returns a region's node, or nil if its agent is not connected.
func (s *Server) connectedNode(id, region string) *Node {
	n := s.node(id)
	if n == nil || n.Region != region || !s.connected(n) {
		return nil
	}
	return n
}

// regionNodes returns those of a region, in the order in which they were added.
// They are not to be changed.
func (s *Server) regionNodes(region string) []*Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Node, 0, len(s.ids))
	for _, id := range s.ids {
		if n := s.current(id); n.Region == region {
			list = append(list, n)
		}
	}
	return list
}
