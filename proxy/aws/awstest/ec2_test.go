package awstest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// listed returns the ids of all pages.
func listed(t *testing.T, cfg aws.Config, in *ec2.DescribeInstancesInput) (ids []string) {
	t.Helper()
	if in == nil {
		in = &ec2.DescribeInstancesInput{}
	}
	for pages := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(cfg), in); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				ids = append(ids, *i.InstanceId)
			}
		}
	}
	return ids
}

func TestDescribeInstancesFilters(t *testing.T) {
	s := nodeServer(t, Config{},
		Node{ID: id(1), Name: "web-1", ASG: "web", PrivateIP: "10.1.2.3", PublicIP: "192.0.2.1"},
		Node{ID: id(2), Name: "web-2", ASG: "web", State: "stopped", PrivateIP: "10.1.2.4", PublicIP: "192.0.2.2"},
		Node{ID: id(3), Name: "web-1", State: "terminated", Tags: map[string]string{"Stage": "a*c"}},
		Node{ID: id(4), Tags: map[string]string{"Stage": "abc", "": "x"}, PrivateDNS: "db.internal"},
		Node{ID: id(5), Name: `ä\b`, PrivateIP: None},
		Node{ID: "mi-1", Name: "web-1"},
	)
	cfg := sdk(s, "us-east-1")
	filter := func(name string, values ...string) types.Filter {
		return types.Filter{Name: &name, Values: values}
	}
	for _, test := range []struct {
		filters []types.Filter
		want    []int
	}{
		{nil, []int{1, 2, 3, 4, 5}},
		{[]types.Filter{filter("tag:Name", "web-1")}, []int{1, 3}},
		{[]types.Filter{filter("tag:Name", "WEB-1")}, nil},
		{[]types.Filter{filter("tag:Name", "web")}, nil},
		{[]types.Filter{filter("tag:Name", "web-1", "web-2")}, []int{1, 2, 3}},
		{[]types.Filter{filter("tag:Name", "web-*")}, []int{1, 2, 3}},
		{[]types.Filter{filter("tag:Name", "w?b-*2*")}, []int{2}},
		{[]types.Filter{filter("tag:Name", "web-1?")}, nil},
		{[]types.Filter{filter("tag:Name", `web\-1`)}, []int{1, 3}},
		{[]types.Filter{filter("tag:Name", `?\\b`)}, []int{5}},
		{[]types.Filter{filter("tag:Name", "*")}, []int{1, 2, 3, 5}},
		{[]types.Filter{filter("tag:Stage", "a*c")}, []int{3, 4}},
		{[]types.Filter{filter("tag:Stage", `a\*c`)}, []int{3}},
		{[]types.Filter{filter("tag-key", "Stage")}, []int{3, 4}},
		{[]types.Filter{filter("tag-key", "N*")}, []int{1, 2, 3, 5}},
		{[]types.Filter{filter("tag:aws:autoscaling:groupName", "web")}, []int{1, 2}},
		{[]types.Filter{filter("instance-state-name", "running")}, []int{1, 4, 5}},
		{[]types.Filter{filter("tag:Name", "web-1"), filter("instance-state-name", "running", "stopped")}, []int{1}},
		{[]types.Filter{filter("private-ip-address", "10.1.2.4")}, []int{2}},
		{[]types.Filter{filter("private-ip-address", "10.1.2.*")}, []int{1, 2}},
		{[]types.Filter{filter("private-dns-name", "ip-10-1-2-3.ec2.internal")}, []int{1}},
		{[]types.Filter{filter("private-dns-name", "db.internal")}, []int{4}},
		{[]types.Filter{filter("private-dns-name", "*")}, []int{1, 2, 4}},
		{[]types.Filter{filter("ip-address", "192.0.2.?")}, []int{1}}, // a stopped one has none
		{[]types.Filter{filter("instance-id", id(4), "mi-1")}, []int{4}},
		{[]types.Filter{filter("instance-type", "t3.micro"), filter("availability-zone", "us-east-1b")}, nil},
	} {
		var want []string
		for _, n := range test.want {
			want = append(want, id(n))
		}
		if got := listed(t, cfg, &ec2.DescribeInstancesInput{Filters: test.filters}); !slices.Equal(got, want) {
			var names []string
			for _, f := range test.filters {
				names = append(names, fmt.Sprint(*f.Name, f.Values))
			}
			t.Errorf("%q: got %q, want %q", names, got, want)
		}
	}
	if got, want := listed(t, cfg, &ec2.DescribeInstancesInput{
		InstanceIds: []string{id(4), id(1)}, Filters: []types.Filter{filter("tag:Name", "web-1")},
	}), []string{id(1)}; !slices.Equal(got, want) {
		t.Errorf("ids and filters: got %q, want %q", got, want)
	}
}

func TestDescribeInstancesRefuses(t *testing.T) {
	s := nodeServer(t, Config{}, Node{ID: id(1)}, Node{ID: "mi-0123456789abcdef0"}, Node{ID: "i-0short"})
	client := ec2.NewFromConfig(sdk(s, "us-east-1"))
	filter := func(name string, values ...string) []types.Filter {
		return []types.Filter{{Name: &name, Values: values}}
	}
	for _, test := range []struct {
		in            ec2.DescribeInstancesInput
		code, message string
	}{
		{ec2.DescribeInstancesInput{InstanceIds: []string{id(1), id(2)}}, "InvalidInstanceID.NotFound", "The instance ID '" + id(2) + "' does not exist"},
		{ec2.DescribeInstancesInput{InstanceIds: []string{id(2), id(3)}}, "InvalidInstanceID.NotFound", "The instance IDs '" + id(2) + ", " + id(3) + "' do not exist"},
		{ec2.DescribeInstancesInput{InstanceIds: []string{"web"}}, "InvalidInstanceID.Malformed", `Invalid id: "web"`},
		{ec2.DescribeInstancesInput{InstanceIds: []string{"mi-0123456789abcdef0"}}, "InvalidInstanceID.Malformed", `Invalid id: "mi-0123456789abcdef0" (expecting "i-...")`},
		{ec2.DescribeInstancesInput{InstanceIds: []string{"i-0"}}, "InvalidInstanceID.Malformed", `Invalid id: "i-0"`},
		{ec2.DescribeInstancesInput{MaxResults: aws.Int32(4)}, "InvalidParameterValue", ""},
		{ec2.DescribeInstancesInput{MaxResults: aws.Int32(1001)}, "InvalidParameterValue", ""},
		{ec2.DescribeInstancesInput{MaxResults: aws.Int32(5), InstanceIds: []string{id(1)}}, "InvalidParameterCombination", ""},
		{ec2.DescribeInstancesInput{NextToken: aws.String("x")}, "InvalidNextToken", ""},
		{ec2.DescribeInstancesInput{Filters: filter("name", "x")}, "InvalidParameterValue", "The filter 'name' is invalid"},
		{ec2.DescribeInstancesInput{Filters: filter("tag:", "x")}, "InvalidParameterValue", "The filter 'tag:' is invalid"},
		{ec2.DescribeInstancesInput{Filters: filter("tag:a")}, "InvalidParameterValue", ""},
		{ec2.DescribeInstancesInput{Filters: filter("tag:a", slices.Repeat([]string{"x"}, 201)...)}, "FilterLimitExceeded", ""},
	} {
		_, err := client.DescribeInstances(t.Context(), &test.in)
		got := refused(t, test.message, err, test.code, 400)
		if test.message != "" && got != test.message {
			t.Errorf("got %q, want %q", got, test.message)
		}
	}
	if _, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i-0short"}}); err != nil {
		t.Errorf("a node's id is good, whatever it is: %v", err)
	}
}

func TestWhatEC2Says(t *testing.T) {
	launched := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := nodeServer(t, Config{},
		Node{ID: id(1)},
		Node{ID: id(2), Name: "a <b> & \"c\" \u009b\n", Tags: map[string]string{"x y": ""}, State: "stopped", PrivateIP: "10.0.0.9",
			PublicIP: "192.0.2.1", Launched: launched, Type: "m7g.large", Zone: "us-east-1c", Profile: None, PlatformType: "Windows"},
		Node{ID: id(3), State: "terminated"},
		Node{ID: id(4), PublicIP: "192.0.2.1", Profile: "mine"},
	)
	answer, err := ec2.NewFromConfig(sdk(s, "us-east-1")).DescribeInstances(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []types.Instance
	for i, r := range answer.Reservations {
		if want := []int{3, 1}[i]; len(r.Instances) != want || *r.OwnerId != accountID {
			t.Errorf("reservation %d has %d instances, want %d", i, len(r.Instances), want)
		}
		got = append(got, r.Instances...)
	}
	one, two, three, four := got[0], got[1], got[2], got[3]
	if one.State.Name != "running" || *one.State.Code != 16 || *one.PrivateIpAddress == "" || *one.PrivateDnsName == "" ||
		one.PublicIpAddress != nil || len(one.Tags) != 0 || one.Platform != "" ||
		*one.IamInstanceProfile.Arn != "arn:aws:iam::123456789012:instance-profile/ssmtest" {
		t.Errorf("by default: %+v", one)
	}
	if since := time.Since(*one.LaunchTime); since < 59*time.Minute || since > 61*time.Minute {
		t.Errorf("launched %v ago", since)
	}
	if two.State.Name != "stopped" || *two.State.Code != 80 || !two.LaunchTime.Equal(launched) || two.InstanceType != "m7g.large" ||
		*two.Placement.AvailabilityZone != "us-east-1c" || two.IamInstanceProfile != nil || two.Platform != "windows" ||
		two.PublicIpAddress != nil || *two.PrivateIpAddress != "10.0.0.9" || *two.PrivateDnsName != "ip-10-0-0-9.ec2.internal" {
		t.Errorf("a stopped one: %+v", two)
	}
	tags := make(map[string]string)
	for _, tag := range two.Tags {
		tags[*tag.Key] = *tag.Value
	}
	if want := map[string]string{"Name": "a <b> & \"c\" \u009b\n", "x y": ""}; !reflect.DeepEqual(tags, want) {
		t.Errorf("tags %q, want %q", tags, want)
	}
	if three.PrivateIpAddress != nil || three.IamInstanceProfile != nil {
		t.Errorf("a terminated one: %+v", three)
	}
	if *four.PublicIpAddress != "192.0.2.1" || *four.IamInstanceProfile.Arn != "arn:aws:iam::123456789012:instance-profile/mine" {
		t.Errorf("a public one: %+v", four)
	}
}

// fleet adds 2,000 nodes: every second name twice, every tenth one stopped.
func fleet(s *Server) (all []Node) {
	for i := range 2000 {
		n := Node{ID: id(i), Name: fmt.Sprintf("web-%d", i-i%4/3)}
		if i%10 == 9 {
			n.State = "stopped"
		}
		all = append(all, n)
		s.AddNode(n)
	}
	return all
}

func TestDescribeInstancesPages(t *testing.T) {
	s := nodeServer(t, Config{Config: ssmtest.Config{Regions: []string{"eu-west-1"}}})
	all := fleet(s)
	cfg := sdk(s, "us-east-1")
	var every, running []string
	for _, n := range all {
		every = append(every, n.ID)
		if n.State == "" {
			running = append(running, n.ID)
		}
	}
	up := []types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"running"}}}
	calls := 0
	for _, test := range []struct {
		in    *ec2.DescribeInstancesInput
		want  []string
		pages int
	}{
		{&ec2.DescribeInstancesInput{}, every, 1},
		{&ec2.DescribeInstancesInput{MaxResults: aws.Int32(1000)}, every, 2},
		{&ec2.DescribeInstancesInput{MaxResults: aws.Int32(300)}, every, 7},
		{&ec2.DescribeInstancesInput{MaxResults: aws.Int32(300), Filters: up}, running, 6},
	} {
		if got := listed(t, cfg, test.in); !slices.Equal(got, test.want) {
			t.Errorf("%d instances, want %d", len(got), len(test.want))
		}
		calls += test.pages
		if n := s.Calls("DescribeInstances"); n != calls {
			t.Errorf("%d calls, want %d", n, calls)
		}
	}
	client := ec2.NewFromConfig(cfg)
	first, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5), NextToken: first.NextToken, Filters: up})
	refused(t, "a token with other filters", err, "InvalidNextToken", 400)
	_, err = ec2.NewFromConfig(sdk(s, "eu-west-1")).DescribeInstances(t.Context(),
		&ec2.DescribeInstancesInput{MaxResults: aws.Int32(5), NextToken: first.NextToken})
	refused(t, "a token in another region", err, "InvalidNextToken", 400)
	second, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{MaxResults: aws.Int32(10), NextToken: first.NextToken})
	if err != nil || *second.Reservations[0].Instances[0].InstanceId != every[5] {
		t.Errorf("the second page: %v", err)
	}
}
