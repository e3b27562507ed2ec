package examine

import (
	"context"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

func TestOlderThan(t *testing.T) {
	for _, tt := range []struct {
		version, limit string
		older          bool
	}{
		{"2.3.672.0", "2.3.672.0", false},
		{"2.3.671.9", "2.3.672.0", true},
		{"2.10.0.0", "2.3.672.0", false},
		{"3.0.196.0", "3.0.196.1", true},
		{"3.3.3883.0", "3.1.1374.0", false},
		{"3.1", "3.1.1374.0", true},
		{"3.2", "3.1.1374.0", false},
	} {
		if olderThan(tt.version, tt.limit) != tt.older {
			t.Errorf("%s older than %s: %v", tt.version, tt.limit, !tt.older)
		}
	}
}

// TestRegionForm: regions of all partitions are taken, zones are not.
func TestRegionForm(t *testing.T) {
	for _, region := range []string{"eu-central-1", "us-gov-west-1", "ap-southeast-7", "cn-northwest-1", "us-isob-east-1", "eusc-de-east-1", "mx-central-1"} {
		if !regionForm.MatchString(region) || zoneForm.MatchString(region) {
			t.Errorf("%s is a region", region)
		}
	}
	for _, wrong := range []string{"", "eu-central", "frankfurt", "eu-central-1a", "EU-CENTRAL-1", "eu-central-1 ", "us-east-1.evil.example"} {
		if regionForm.MatchString(wrong) {
			t.Errorf("%q is not a region", wrong)
		}
	}
	if m := zoneForm.FindStringSubmatch("eu-central-1a"); m == nil || m[1] != "eu-central-1" {
		t.Errorf("eu-central-1a is a zone of %q", m)
	}
}

// quoter is a doctor that knows an error's own words.
type quoter struct{ driver.Doctor }

func (quoter) Problem(s driver.Status, err error) driver.Finding {
	return driver.Finding{Status: s, Detail: err.Error()}
}

// TestPreferences: facts from documents as AWS's console and as templates write
// them.
func TestPreferences(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		status         driver.Status
		want           []string
	}{
		{"console", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"s3BucketName":"logs","cloudWatchLogGroupName":"","kmsKeyId":"","runAsEnabled":true,"runAsDefaultUser":"ops","idleSessionTimeout":"35","maxSessionDuration":"60"}}`,
			driver.StatusOK, []string{"35 min idle", "after 60 min in any case", "no KMS key", "run as ops", "logged to logs"}},
		{"template", `{"inputs":{"runAsEnabled":"false","idleSessionTimeout":1,"maxSessionDuration":""}}`,
			driver.StatusWarning, []string{"1 min idle"}},
		{"empty", `{"inputs":{}}`, driver.StatusOK, []string{"20 min idle", "no KMS key"}},
		{"broken", `{"inputs":`, driver.StatusWarning, []string{"cannot be read"}},
	} {
		e := &examination{document: &tt.document, ExamineRequest: &driver.ExamineRequest{Doctor: quoter{}}}
		f := e.preferences(context.Background())
		if f.Status != tt.status {
			t.Errorf("%s: %+v", tt.name, f)
		}
		for _, want := range tt.want {
			if !strings.Contains(f.Detail, want) {
				t.Errorf("%s: %q is not in %q", tt.name, want, f.Detail)
			}
		}
	}
}

// TestTargetARN: the statements name what StartSession is called on.
func TestTargetARN(t *testing.T) {
	for _, tt := range []struct{ id, arn string }{
		{"i-1", "arn:aws-cn:ec2:cn-north-1:123456789012:instance/i-1"},
		{"mi-1", "arn:aws-cn:ssm:cn-north-1:123456789012:managed-instance/mi-1"},
		{"ecs:my_cluster_0123_0123-4", "arn:aws-cn:ecs:cn-north-1:123456789012:task/my_cluster/0123"},
	} {
		e := &examination{who: identity{account: "123456789012", partition: "aws-cn"}, found: driver.Machine{ID: tt.id}}
		e.cfg.Region = "cn-north-1"
		if got := e.targetARN(); got != tt.arn {
			t.Errorf("%s: %s", tt.id, got)
		}
	}
}
