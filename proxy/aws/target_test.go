package aws

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
)

func tagged(key, value string) *inventory.Query {
	return &inventory.Query{Tag: [2]string{key, value}}
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		text, suffix string
		want         Target
	}{
		{"i-0123456789abcdef0", "", Target{ID: "i-0123456789abcdef0"}},
		{"i-0demo", "", Target{ID: "i-0demo"}},
		{"mi-0123456789abcdef0", "", Target{ID: "mi-0123456789abcdef0"}},
		{"mi-0123456789abcdef0--eu-central-1", "", Target{ID: "mi-0123456789abcdef0", Region: "eu-central-1"}},
		{"ecs:my-cluster_0123456789abcdef_0123456789abcdef-1234567890", "",
			Target{ID: "ecs:my-cluster_0123456789abcdef_0123456789abcdef-1234567890"}},
		{"ecs:web/0123456789abcdef", "", Target{Task: &task{"web", "0123456789abcdef", ""}}},
		{"ecs:web/0123456789abcdef/app_1--us-gov-west-1", "", Target{Task: &task{"web", "0123456789abcdef", "app_1"}, Region: "us-gov-west-1"}},
		{"web-1", "", Target{query: tagged("Name", "web-1")}},
		{"i-am-a-name", "", Target{query: tagged("Name", "i-am-a-name")}},
		{"web-1--eu-central-1", "", Target{query: tagged("Name", "web-1"), Region: "eu-central-1"}},
		{"web--1", "", Target{query: tagged("Name", "web--1")}},
		{"web-1.prod", ".prod", Target{query: tagged("Name", "web-1")}},
		{"web-1--eu-central-1.prod", ".prod", Target{query: tagged("Name", "web-1"), Region: "eu-central-1"}},
		{"web-1", ".prod", Target{query: tagged("Name", "web-1")}},
		{".prod", ".prod", Target{query: tagged("Name", ".prod")}},
		{"i-1\n", "", Target{query: tagged("Name", "i-1\n")}},
		{"i-", "", Target{query: tagged("Name", "i-")}},
		{"ecs", "", Target{query: tagged("Name", "ecs")}},
		{"tag:role=db", "", Target{query: tagged("role", "db")}},
		{"tag:aws:cloudformation:stack-name=a=b", "", Target{query: tagged("aws:cloudformation:stack-name", "a=b")}},
		{"tag:empty=", "", Target{query: tagged("empty", "")}},
		{"asg:web", "", Target{query: tagged("aws:autoscaling:groupName", "web")}},
		{"10.0.3.7", "", Target{query: &inventory.Query{IP: "10.0.3.7"}}},
		{"100.64.3.7", "", Target{query: &inventory.Query{IP: "100.64.3.7"}}},
		{"10.0.3.7--us-east-1", "", Target{query: &inventory.Query{IP: "10.0.3.7"}, Region: "us-east-1"}},
		{"::ffff:10.0.3.7", "", Target{query: &inventory.Query{IP: "10.0.3.7"}}},
		{"198.51.100.7", "", Target{query: &inventory.Query{Public: "198.51.100.7"}}},
		{"2001:DB8::7", "", Target{query: &inventory.Query{IPv6: "2001:db8::7"}}},
		{"[2001:db8::7]", "", Target{query: &inventory.Query{IPv6: "2001:db8::7"}}},
		{"ip-10-0-3-7.ec2.internal", "", Target{query: &inventory.Query{DNS: "ip-10-0-3-7.ec2.internal"}}},
		{"ip-10-0-3-7.eu-central-1.compute.internal", "", Target{query: &inventory.Query{DNS: "ip-10-0-3-7.eu-central-1.compute.internal"}}},
		{"db.internal", "", Target{query: tagged("Name", "db.internal")}},
	} {
		got, err := ParseTarget(tt.text, tt.suffix)
		got.Text = ""
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
	for _, bad := range []string{"", "-i-1", "--eu-central-1", "tag:", "tag:role", "tag:=db", "asg:", "ecs:", "ecs:a", "ecs:a/", "ecs:/b", "ecs:a/b/", "ecs:a/b/c/d"} {
		if got, err := ParseTarget(bad, ""); !errors.Is(err, ErrTarget) {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

// TestEveryRegion that the SDK knows can stand in a target.
func TestEveryRegion(t *testing.T) {
	form := regexp.MustCompile("^" + RegionPattern + "$")
	for _, region := range sdkRegions(t) {
		if got, err := ParseTarget("web-1--"+region, ""); err != nil || got.Region != region {
			t.Errorf("web-1--%s: region %q, %v", region, got.Region, err)
		}
		if !form.MatchString(region) {
			t.Errorf("%s is no region", region)
		}
	}
	for _, name := range []string{"web--prod-db-1", "web--x-1", "web--eu-1", "web-1--eusc"} {
		if got, err := ParseTarget(name, ""); err != nil || got.Region != "" {
			t.Errorf("%s: region %q, %v", name, got.Region, err)
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
