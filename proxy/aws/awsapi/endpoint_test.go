package awsapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

const serviceProfiles = `
[profile services]
region = eu-central-1
services = mine
aws_access_key_id = AKID
aws_secret_access_key = secret
[profile ignored]
region = eu-central-1
services = mine
ignore_configured_endpoint_urls = true
aws_access_key_id = AKID
aws_secret_access_key = secret
[services mine]
ssmmessages =
  endpoint_url = https://vpce.example:8443
`

// TestServicesSection: a profile's services section has a place for the data
// channels' service, after the environment's as the SDK has it.
func TestServicesSection(t *testing.T) {
	const plain = "wss://ssmmessages.eu-central-1.amazonaws.com/v1/data-channel/x"
	const own = "wss://vpce.example:8443/v1/data-channel/x"
	for _, tt := range []struct{ profile, env, want string }{
		{"services", "", own},
		{"ignored", "", plain},
		{"ignored", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false", own},
		{"services", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=TRUE", plain},
		{"services", "AWS_ENDPOINT_URL_SSMMESSAGES=http://other.example", "ws://other.example/v1/data-channel/x"},
		{"services", "AWS_ENDPOINT_URL=https://all.example", plain},
	} {
		cfg := testConfig(t, serviceProfiles, Account{Profile: tt.profile})
		if name, value, ok := strings.Cut(tt.env, "="); ok {
			t.Setenv(name, value)
		}
		got, err := NewSession(cfg, ssm.StartSessionInput{}).DataChannelURL(plain)
		if got != tt.want || err != nil {
			t.Errorf("%s, %s: %s, %v", tt.profile, tt.env, got, err)
		}
	}
}

// partitions is what the SDK knows.
func partitions(t *testing.T) (list []struct {
	ID      string
	Outputs struct {
		DNSSuffix, DualStackDNSSuffix   string
		SupportsFIPS, SupportsDualStack bool
	}
	Regions map[string]struct{}
}) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/endpoints/awsrulesfn/partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var data struct{ Partitions json.RawMessage }
	if err := json.Unmarshal(text, &data); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data.Partitions, &list); err != nil || len(list) < 5 {
		t.Fatalf("%d partitions, %v", len(list), err)
	}
	return list
}

// TestPartitions: the settings for FIPS and dual-stack apply to data channels in
// every region that the SDK knows.
func TestPartitions(t *testing.T) {
	for _, p := range partitions(t) {
		for region := range p.Regions {
			if strings.HasSuffix(region, "-global") {
				continue
			}
			plain := "wss://ssmmessages." + region + "." + p.Outputs.DNSSuffix + "/v1/data-channel/x"
			for _, set := range []struct {
				fips, dual bool
				host       string
			}{
				{false, false, "ssmmessages." + region + "." + p.Outputs.DNSSuffix},
				{true, false, "ssmmessages-fips." + region + "." + p.Outputs.DNSSuffix},
				{false, true, "ssmmessages." + region + "." + p.Outputs.DualStackDNSSuffix},
			} {
				if set.fips && !p.Outputs.SupportsFIPS || set.dual && !p.Outputs.SupportsDualStack {
					continue
				}
				cfg := aws.Config{Region: region, ConfigSources: []any{endpointSettings{set.fips, set.dual}}}
				got, err := NewSession(cfg, ssm.StartSessionInput{}).DataChannelURL(plain)
				if want := "wss://" + set.host + "/v1/data-channel/x"; got != want || err != nil {
					t.Errorf("%+v: %s, %v", set, got, err)
				}
			}
		}
	}
}

// endpointSettings is a source of configuration.
type endpointSettings struct{ fips, dual bool }

func (e endpointSettings) GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error) {
	return aws.FIPSEndpointStateEnabled, e.fips, nil
}

func (e endpointSettings) GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error) {
	return aws.DualStackEndpointStateEnabled, e.dual, nil
}

// TestSkewIsBounded: a date that is days off is not signed with.
func TestSkewIsBounded(t *testing.T) {
	for _, tt := range []struct {
		ahead    time.Duration
		believed bool
	}{{2 * time.Hour, true}, {-2 * time.Hour, true}, {48 * time.Hour, false}, {-48 * time.Hour, false}} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(tt.ahead).UTC().Format(http.TimeFormat))
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.Write([]byte("{}"))
		}))
		cfg := testConfig(t, profiles, Account{Profile: "plain"})
		cfg.BaseEndpoint = &srv.URL
		var told []string
		boundSkew(&cfg, func(line string) { told = append(told, line) })
		for range 2 {
			out, err := ssm.NewFromConfig(cfg).ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: aws.String("x")})
			if err != nil {
				t.Fatal(err)
			}
			if got := SkewOf(out.ResultMetadata).Abs() > time.Hour; got != tt.believed {
				t.Errorf("%v: believed: %v", tt.ahead, got)
			}
		}
		if want := map[bool]int{true: 0, false: 1}[tt.believed]; len(told) != want {
			t.Errorf("%v: told %q", tt.ahead, told)
		}
		srv.Close()
	}
}
