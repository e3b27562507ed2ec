package awstest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func inventoried(t *testing.T, cfg aws.Config, in *ssm.DescribeInstanceInformationInput) (list []types.InstanceInformation) {
	t.Helper()
	for pages := ssm.NewDescribeInstanceInformationPaginator(ssm.NewFromConfig(cfg), in); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page.InstanceInformationList...)
	}
	return list
}

func stringFilter(key string, values ...string) types.InstanceInformationStringFilter {
	return types.InstanceInformationStringFilter{Key: &key, Values: values}
}

func TestDescribeInstanceInformationFilters(t *testing.T) {
	s := nodeServer(t, Config{},
		Node{ID: "i-1", Name: "web"},
		Node{ID: "i-2", Name: "web", Node: ssmtest.Node{NotConnected: true}, Tags: map[string]string{"Stage": "a"}},
		Node{ID: "i-3", Name: "web", NeverCalled: true},
		Node{ID: "i-4", Name: "web", State: "stopped"},
		Node{ID: "i-5", PlatformType: "Windows", Node: ssmtest.Node{Agent: &ssmtest.Agent{Version: "2.3.50.0"}}},
		Node{ID: "i-6", State: "terminated"},
		Node{ID: "mi-7", Name: "web"},
		Node{ID: "i-8", State: "pending"},
	)
	type list = []types.InstanceInformationStringFilter
	for _, test := range []struct {
		filters list
		want    []string
	}{
		{nil, []string{"i-1", "i-2", "i-5", "i-8", "mi-7"}},
		{list{stringFilter("InstanceIds", "i-1", "i-3", "mi-7", "i-99")}, []string{"i-1", "mi-7"}},
		{list{stringFilter("PingStatus", "Online")}, []string{"i-1", "i-5", "mi-7"}},
		{list{stringFilter("PingStatus", "ConnectionLost")}, []string{"i-2", "i-8"}},
		{list{stringFilter("ResourceType", "ManagedInstance")}, []string{"mi-7"}},
		{list{stringFilter("ResourceType", "EC2Instance"), stringFilter("PingStatus", "Online")}, []string{"i-1", "i-5"}},
		{list{stringFilter("PlatformTypes", "Windows")}, []string{"i-5"}},
		{list{stringFilter("AgentVersion", "2.3.50.0")}, []string{"i-5"}},
		{list{stringFilter("tag:Name", "web")}, []string{"i-1", "i-2", "mi-7"}},
		{list{stringFilter("tag:Name", "we*")}, nil},
		{list{stringFilter("tag:Name", "web"), stringFilter("tag:Stage", "a", "b")}, []string{"i-2"}},
		{list{stringFilter("tag-key", "Stage")}, []string{"i-2"}},
	} {
		var got []string
		for _, i := range inventoried(t, sdk(s, "us-east-1"), &ssm.DescribeInstanceInformationInput{Filters: test.filters}) {
			got = append(got, *i.InstanceId)
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			var names []string
			for _, f := range test.filters {
				names = append(names, fmt.Sprint(*f.Key, f.Values))
			}
			t.Errorf("%q: got %q, want %q", names, got, test.want)
		}
	}
}

func TestDescribeInstanceInformationRefuses(t *testing.T) {
	s := nodeServer(t, Config{})
	client := ssm.NewFromConfig(sdk(s, "us-east-1"))
	type list = []types.InstanceInformationStringFilter
	for _, test := range []struct {
		in   ssm.DescribeInstanceInformationInput
		code string
	}{
		{ssm.DescribeInstanceInformationInput{Filters: list{stringFilter("tag:Name", "web"), stringFilter("PingStatus", "Online")}}, "ValidationException"},
		{ssm.DescribeInstanceInformationInput{Filters: list{stringFilter("ResourceType", "EC2Instance", "ManagedInstance")}}, "InvalidInstanceInformationFilterValue"},
		{ssm.DescribeInstanceInformationInput{Filters: list{stringFilter("PingStatus", "online")}}, "InvalidInstanceInformationFilterValue"},
		{ssm.DescribeInstanceInformationInput{Filters: list{stringFilter("Name", "web")}}, "InvalidFilterKey"},
		{ssm.DescribeInstanceInformationInput{Filters: list{stringFilter("InstanceIds", "web")}}, "InvalidInstanceId"},
		{ssm.DescribeInstanceInformationInput{Filters: list{stringFilter("InstanceIds", slices.Repeat([]string{"i-1"}, 101)...)}}, "ValidationException"},
		{ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(4)}, "ValidationException"},
		{ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(51)}, "ValidationException"},
		{ssm.DescribeInstanceInformationInput{NextToken: aws.String("x")}, "InvalidNextToken"},
	} {
		_, err := client.DescribeInstanceInformation(t.Context(), &test.in)
		refused(t, test.code, err, test.code, 400)
	}
}

func TestWhatSystemsManagerSays(t *testing.T) {
	pinged := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := nodeServer(t, Config{Config: ssmtest.Config{Agent: ssmtest.Agent{Version: "3.1.0.0"}}},
		Node{ID: "i-1", Name: "web", PrivateIP: "10.0.0.9"},
		Node{ID: "mi-2", Name: "\x1b[2J", Computer: "host", Platform: "Ubuntu", PlatformVersion: "24.04", Node: ssmtest.Node{NotConnected: true}, Pinged: pinged},
		Node{ID: "i-3", Node: ssmtest.Node{NotConnected: true}},
	)
	byID := make(map[string]types.InstanceInformation)
	describe := func() {
		for _, i := range inventoried(t, sdk(s, "us-east-1"), &ssm.DescribeInstanceInformationInput{}) {
			byID[*i.InstanceId] = i
		}
	}
	describe()
	one, two, three := byID["i-1"], byID["mi-2"], byID["i-3"]
	if one.PingStatus != "Online" || time.Since(*one.LastPingDateTime) > 2*time.Minute || *one.AgentVersion != "3.1.0.0" ||
		one.ResourceType != "EC2Instance" || one.Name != nil || *one.IPAddress != "10.0.0.9" || *one.ComputerName != "ip-10-0-0-9.ec2.internal" ||
		*one.PlatformName != "Amazon Linux" || one.PlatformType != "Linux" {
		t.Errorf("by default: %+v", one)
	}
	if two.PingStatus != "ConnectionLost" || !two.LastPingDateTime.Equal(pinged) || two.ResourceType != "ManagedInstance" ||
		*two.Name != "\x1b[2J" || *two.ComputerName != "host" || *two.PlatformName != "Ubuntu" || *two.PlatformVersion != "24.04" ||
		two.RegistrationDate == nil || two.ActivationId == nil {
		t.Errorf("a managed node: %+v", two)
	}
	if since := time.Since(*three.LastPingDateTime); since < 59*time.Minute || since > 61*time.Minute {
		t.Errorf("not connected for %v", since)
	}
	back := s.Reboot("i-1")
	describe()
	if got := byID["i-1"].PingStatus; got != "ConnectionLost" {
		t.Errorf("while it boots: %s", got)
	}
	back()
	describe()
	if got := byID["i-1"].PingStatus; got != "Online" {
		t.Errorf("after that: %s", got)
	}
}

func TestDescribeInstanceInformationPages(t *testing.T) {
	s := nodeServer(t, Config{})
	var want []string
	for _, n := range fleet(s) {
		if n.State == "" {
			want = append(want, n.ID)
		}
	}
	var got []string
	for _, i := range inventoried(t, sdk(s, "us-east-1"), &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(50)}) {
		got = append(got, *i.InstanceId)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%d nodes, want %d", len(got), len(want))
	}
	if n := s.Calls("DescribeInstanceInformation"); n != 36 {
		t.Errorf("%d calls", n)
	}
	client := ssm.NewFromConfig(sdk(s, "us-east-1"))
	first, err := client.DescribeInstanceInformation(t.Context(), nil)
	if err != nil || len(first.InstanceInformationList) != 10 {
		t.Fatalf("%d nodes without MaxResults: %v", len(first.InstanceInformationList), err)
	}
	_, err = client.DescribeInstanceInformation(t.Context(), &ssm.DescribeInstanceInformationInput{
		NextToken: first.NextToken, Filters: []types.InstanceInformationStringFilter{stringFilter("PingStatus", "Online")},
	})
	refused(t, "a token with other filters", err, "InvalidNextToken", 400)
}
