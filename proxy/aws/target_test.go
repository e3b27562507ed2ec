package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

func tagged(key, value string) *inventory.Query {
	return &inventory.Query{Tag: [2]string{key, value}}
}

// meant is what a target means, with its region.
type meant struct {
	region string
	id     string
	task   *task
	query  *inventory.Query
}

func parseTarget(text, suffix string) (meant, error) {
	o := machine.Options{Driver: Driver{}, Choice: machine.Choice{StripSuffix: suffix}}
	t, err := o.ParseTarget(text)
	if err != nil {
		return meant{}, err
	}
	in, err := parse(t.Text)
	if err == nil && in.id != t.ID {
		err = fmt.Errorf("the id is %q and %q", in.id, t.ID)
	}
	return meant{t.Region, in.id, in.task, in.query}, err
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		text, suffix string
		want         meant
	}{
		{"i-0123456789abcdef0", "", meant{id: "i-0123456789abcdef0"}},
		{"i-0demo", "", meant{id: "i-0demo"}},
		{"mi-0123456789abcdef0", "", meant{id: "mi-0123456789abcdef0"}},
		{"mi-0123456789abcdef0--eu-central-1", "", meant{id: "mi-0123456789abcdef0", region: "eu-central-1"}},
		{"ecs:my-cluster_0123456789abcdef_0123456789abcdef-1234567890", "",
			meant{id: "ecs:my-cluster_0123456789abcdef_0123456789abcdef-1234567890"}},
		{"ecs:web/0123456789abcdef", "", meant{task: &task{"web", "0123456789abcdef", ""}}},
		{"ecs:web/0123456789abcdef/app_1--us-gov-west-1", "", meant{task: &task{"web", "0123456789abcdef", "app_1"}, region: "us-gov-west-1"}},
		{"web-1", "", meant{query: tagged("Name", "web-1")}},
		{"i-am-a-name", "", meant{query: tagged("Name", "i-am-a-name")}},
		{"web-1--eu-central-1", "", meant{query: tagged("Name", "web-1"), region: "eu-central-1"}},
		{"web--eu-central-1--us-east-1", "", meant{query: tagged("Name", "web--eu-central-1"), region: "us-east-1"}},
		{"web--", "", meant{query: tagged("Name", "web--")}},
		{"web--1", "", meant{query: tagged("Name", "web--1")}},
		{"web-1.prod", ".prod", meant{query: tagged("Name", "web-1")}},
		{"web-1--eu-central-1.prod", ".prod", meant{query: tagged("Name", "web-1"), region: "eu-central-1"}},
		{"web-1", ".prod", meant{query: tagged("Name", "web-1")}},
		{".prod", ".prod", meant{query: tagged("Name", ".prod")}},
		{"i-1\n", "", meant{query: tagged("Name", "i-1\n")}},
		{"i-", "", meant{query: tagged("Name", "i-")}},
		{"ecs", "", meant{query: tagged("Name", "ecs")}},
		{"tag:role=db", "", meant{query: tagged("role", "db")}},
		{"tag:aws:cloudformation:stack-name=a=b", "", meant{query: tagged("aws:cloudformation:stack-name", "a=b")}},
		{"tag:empty=", "", meant{query: tagged("empty", "")}},
		{"asg:web", "", meant{query: tagged("aws:autoscaling:groupName", "web")}},
		{"10.0.3.7", "", meant{query: &inventory.Query{IP: "10.0.3.7"}}},
		{"100.64.3.7", "", meant{query: &inventory.Query{IP: "100.64.3.7"}}},
		{"10.0.3.7--us-east-1", "", meant{query: &inventory.Query{IP: "10.0.3.7"}, region: "us-east-1"}},
		{"::ffff:10.0.3.7", "", meant{query: &inventory.Query{IP: "10.0.3.7"}}},
		{"198.51.100.7", "", meant{query: &inventory.Query{Public: "198.51.100.7"}}},
		{"2001:DB8::7", "", meant{query: &inventory.Query{IPv6: "2001:db8::7"}}},
		{"[2001:db8::7]", "", meant{query: &inventory.Query{IPv6: "2001:db8::7"}}},
		{"ip-10-0-3-7.ec2.internal", "", meant{query: &inventory.Query{DNS: "ip-10-0-3-7.ec2.internal"}}},
		{"ip-10-0-3-7.eu-central-1.compute.internal", "", meant{query: &inventory.Query{DNS: "ip-10-0-3-7.eu-central-1.compute.internal"}}},
		{"db.internal", "", meant{query: tagged("Name", "db.internal")}},
	} {
		got, err := parseTarget(tt.text, tt.suffix)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
	for _, bad := range []string{"", "-i-1", "--eu-central-1", "tag:", "tag:role", "tag:=db", "asg:", "ecs:", "ecs:a", "ecs:a/", "ecs:/b", "ecs:a/b/", "ecs:a/b/c/d"} {
		if got, err := parseTarget(bad, ""); !errors.Is(err, driver.ErrTarget) {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

// TestEveryRegion that the SDK knows can stand in a target.
func TestEveryRegion(t *testing.T) {
	form := regexp.MustCompile("^" + awsapi.RegionPattern + "$")
	for _, region := range sdkRegions(t) {
		if got, err := parseTarget("web-1--"+region, ""); err != nil || got.region != region {
			t.Errorf("web-1--%s: region %q, %v", region, got.region, err)
		}
		if !form.MatchString(region) {
			t.Errorf("%s is no region", region)
		}
	}
	for _, name := range []string{"web--prod-db-1", "web--x-1", "web--eu-1", "web-1--eusc"} {
		if got, err := parseTarget(name, ""); err != nil || got.region != "" {
			t.Errorf("%s: region %q, %v", name, got.region, err)
		}
	}
}

// sdkRegions is what the SDK knows, of all partitions.
func sdkRegions(t *testing.T) (regions []string) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/endpoints/awsrulesfn/partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Partitions []struct{ Regions map[string]struct{} }
	}
	if err := json.Unmarshal(text, &data); err != nil || len(data.Partitions) < 5 {
		t.Fatalf("%d partitions, %v", len(data.Partitions), err)
	}
	for _, p := range data.Partitions {
		for region := range p.Regions {
			if !strings.HasSuffix(region, "-global") {
				regions = append(regions, region)
			}
		}
	}
	return regions
}
