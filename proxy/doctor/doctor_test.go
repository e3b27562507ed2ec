package doctor

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
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

// TestSSMPipeIn: the program is found in what ssh prints, however it is quoted.
func TestSSMPipeIn(t *testing.T) {
	for _, tt := range []struct{ command, program string }{
		{"ssmpipe proxy i-1 22", "ssmpipe"},
		{"/usr/local/bin/ssmpipe proxy --profile prod i-1 22", "/usr/local/bin/ssmpipe"},
		{"exec '/opt/my tools/ssmpipe' proxy i-1 22", "/opt/my tools/ssmpipe"},
		{`"C:\Program Files\ssmpipe\ssmpipe.exe" proxy i-1 22`, `C:\Program Files\ssmpipe\ssmpipe.exe`},
		{"C:/tools/SSMPIPE.EXE proxy i-1 22", "C:/tools/SSMPIPE.EXE"},
		{`sh -c "aws ssm start-session --target i-1"`, ""},
		{"nc -X connect not-ssmpipe 22", ""},
		{"", ""},
		{"none", ""},
	} {
		if got := ssmpipeIn(tt.command); got != tt.program {
			t.Errorf("%s: %q, not %q", tt.command, got, tt.program)
		}
	}
	if got := words(` a  'b c'"d" '' e`); !slices.Equal(got, []string{"a", "b cd", "", "e"}) {
		t.Errorf("%q", got)
	}
}

// TestPreferences: facts from documents as AWS's console and as templates write
// them.
func TestPreferences(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		status         Status
		want           []string
	}{
		{"console", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"s3BucketName":"logs","cloudWatchLogGroupName":"","kmsKeyId":"","runAsEnabled":true,"runAsDefaultUser":"ops","idleSessionTimeout":"35","maxSessionDuration":"60"}}`,
			StatusOK, []string{"35 min idle", "after 60 min in any case", "no KMS key", "run as ops", "logged to logs"}},
		{"template", `{"inputs":{"runAsEnabled":"false","idleSessionTimeout":1,"maxSessionDuration":""}}`,
			StatusWarning, []string{"1 min idle"}},
		{"empty", `{"inputs":{}}`, StatusOK, []string{"20 min idle", "no KMS key"}},
		{"broken", `{"inputs":`, StatusWarning, []string{"cannot be read"}},
	} {
		d := &doctor{document: &tt.document}
		f := d.preferences(context.Background())
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
		d := &doctor{who: identity{account: "123456789012", partition: "aws-cn"}, found: inventory.Instance{ID: tt.id}}
		d.cfg.Region = "cn-north-1"
		if got := d.targetARN(); got != tt.arn {
			t.Errorf("%s: %s", tt.id, got)
		}
	}
}

// TestFindingPrinter: words where signs cannot be shown, and colour around
// nothing but the sign.
func TestFindingPrinter(t *testing.T) {
	f := Finding{"clock", StatusFailed, "9 min behind", "set it", &Statement{"Allow", "a:B", []string{"arn:${x}"}}}
	for _, tt := range []struct {
		style Style
		want  string
	}{
		{Style{}, "FAILED  clock: 9 min behind\n"},
		{Style{Marks: true}, "✗ clock: 9 min behind\n"},
		{Style{Marks: true, Color: true}, "\x1b[31m✗\x1b[0m clock: 9 min behind\n"},
	} {
		var b bytes.Buffer
		Printer(&b, tt.style)(f)
		want := tt.want + "    set it\n" + `    {"Effect":"Allow","Action":"a:B","Resource":["arn:${x}"]}` + "\n"
		if b.String() != want {
			t.Errorf("%+v: %q", tt.style, b.String())
		}
	}
}

// TestRunBounds: a check that others need stops those, with its name, and no
// check is waited for beyond its limit or the caller's patience.
func TestRunBounds(t *testing.T) {
	d := &doctor{unfit: make(map[string]string)}
	failing := func(context.Context) Finding { return Finding{Status: StatusFailed, Detail: "a\x1b[2Jb"} }
	if f := d.run(context.Background(), check{"first", nil, failing}); f.Detail != "a [2Jb" {
		t.Errorf("%+v", f)
	}
	d.run(context.Background(), check{"second", needs("first"), failing})
	f := d.run(context.Background(), check{"third", needs("second"), failing})
	if f.Status != StatusSkipped || f.Detail != `needs "first"` {
		t.Errorf("%+v", f)
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	d.run(ctx, check{"waiting", nil, func(ctx context.Context) Finding {
		<-ctx.Done()
		return ok("")
	}})
}
