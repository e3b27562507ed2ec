package awsapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// testConfig loads a configuration from a file of the test's own.
func testConfig(t *testing.T, file string, a Account) aws.Config {
	t.Helper()
	for _, env := range os.Environ() {
		if name, _, _ := strings.Cut(env, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	name := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", name)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	a.Notice, a.Log = func(string) {}, slog.New(slog.DiscardHandler)
	cfg, _, warm, err := Load(context.Background(), context.Background(), &a)
	defer warm.Drop()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const profiles = `
[profile plain]
region = eu-central-1
aws_access_key_id = AKID
aws_secret_access_key = secret
[profile fips]
region = us-gov-west-1
use_fips_endpoint = true
aws_access_key_id = AKID
aws_secret_access_key = secret
[profile dual]
region = eu-west-1
use_dualstack_endpoint = true
aws_access_key_id = AKID
aws_secret_access_key = secret
[profile both]
region = us-east-1
use_fips_endpoint = true
use_dualstack_endpoint = true
aws_access_key_id = AKID
aws_secret_access_key = secret
[profile china]
region = cn-north-1
use_dualstack_endpoint = true
aws_access_key_id = AKID
aws_secret_access_key = secret
[profile process]
region = us-east-1
credential_process = echo '{"Version": 1, "AccessKeyId": "FROMPROCESS", "SecretAccessKey": "secret"}'
`

// TestDataChannelEndpoint: the service names its plain regional host, and the
// user's settings are applied to it.
func TestDataChannelEndpoint(t *testing.T) {
	const path = "/v1/data-channel/me-1?role=publish_subscribe"
	for _, tt := range []struct{ profile, override, given, want string }{
		{"plain", "", "wss://ssmmessages.eu-central-1.amazonaws.com", "wss://ssmmessages.eu-central-1.amazonaws.com"},
		{"fips", "", "wss://ssmmessages.us-gov-west-1.amazonaws.com", "wss://ssmmessages-fips.us-gov-west-1.amazonaws.com"},
		{"fips", "", "wss://ssmmessages-fips.us-gov-west-1.amazonaws.com", "wss://ssmmessages-fips.us-gov-west-1.amazonaws.com"},
		{"dual", "", "wss://ssmmessages.eu-west-1.amazonaws.com", "wss://ssmmessages.eu-west-1.api.aws"},
		{"both", "", "wss://ssmmessages.us-east-1.amazonaws.com", "wss://ssmmessages-fips.us-east-1.api.aws"},
		{"china", "", "wss://ssmmessages.cn-north-1.amazonaws.com.cn", "wss://ssmmessages.cn-north-1.api.amazonwebservices.com.cn"},
		{"fips", "", "wss://elsewhere.us-gov-west-1.amazonaws.com", "wss://elsewhere.us-gov-west-1.amazonaws.com"},
		{"plain", "https://vpce-1.ssmmessages.eu-central-1.vpce.amazonaws.com", "wss://ssmmessages.eu-central-1.amazonaws.com", "wss://vpce-1.ssmmessages.eu-central-1.vpce.amazonaws.com"},
		{"plain", "https://vpce.example:443", "wss://ssmmessages.eu-central-1.amazonaws.com", "wss://vpce.example"},
		{"plain", "http://127.0.0.1:99", "wss://ssmmessages.eu-central-1.amazonaws.com", "ws://127.0.0.1:99"},
	} {
		cfg := testConfig(t, profiles, Account{Profile: tt.profile})
		t.Setenv("AWS_ENDPOINT_URL_SSMMESSAGES", tt.override)
		got, err := NewSession(cfg, ssm.StartSessionInput{}).DataChannelURL(tt.given + path)
		if err != nil || got != tt.want+path {
			t.Errorf("%s: %s became %s, %v", tt.profile, tt.given, got, err)
		}
	}
}

func TestCredentialProcessAndRegion(t *testing.T) {
	cfg := testConfig(t, profiles, Account{Profile: "process", Region: "ap-south-1"})
	creds, err := cfg.Credentials.Retrieve(context.Background())
	if err != nil || creds.AccessKeyID != "FROMPROCESS" || cfg.Region != "ap-south-1" {
		t.Errorf("%q in %s, %v", creds.AccessKeyID, cfg.Region, err)
	}
}

// TestExpectedEndpoint: what is dialled early is where the service will send us.
func TestExpectedEndpoint(t *testing.T) {
	for _, tt := range []struct{ profile, env, value, want string }{
		{"plain", "", "", "wss://ssmmessages.eu-central-1.amazonaws.com"},
		{"fips", "", "", "wss://ssmmessages-fips.us-gov-west-1.amazonaws.com"},
		{"dual", "", "", "wss://ssmmessages.eu-west-1.api.aws"},
		{"china", "", "", "wss://ssmmessages.cn-north-1.api.amazonwebservices.com.cn"},
		{"plain", "AWS_ENDPOINT_URL_SSMMESSAGES", "https://vpce.example", "wss://vpce.example"},
		{"plain", "AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:99", "ws://127.0.0.1:99"},
		{"plain", "AWS_ENDPOINT_URL", "https://local.example:99", "wss://local.example:99"},
	} {
		t.Run(tt.profile+tt.env, func(t *testing.T) {
			cfg := testConfig(t, profiles, Account{Profile: tt.profile})
			if tt.env != "" {
				t.Setenv(tt.env, tt.value)
				var warm *Warm
				cfg, _, warm, _ = Load(context.Background(), context.Background(), &Account{Profile: tt.profile, Notice: func(string) {}, Log: slog.New(slog.DiscardHandler)})
				defer warm.Drop()
			}
			if got := NewSession(cfg, ssm.StartSessionInput{}).ExpectedEndpoint(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestPresignedURL: a URL that is signed already gets no second signature.
func TestPresignedURL(t *testing.T) {
	s := NewSession(testConfig(t, profiles, Account{Profile: "plain"}), ssm.StartSessionInput{})
	s.URL = "wss://example/v1/data-channel/x?role=y"
	if h, err := s.sign(context.Background()); err != nil || h.Get("Authorization") == "" {
		t.Errorf("plain: %v, %v", h, err)
	}
	s.URL += "&X-Amz-Signature=abc"
	if h, err := s.sign(context.Background()); err != nil || h != nil {
		t.Errorf("presigned: %v, %v", h, err)
	}
}

// TestDataKey: the key is bound to the session, the target and the challenge.
func TestDataKey(t *testing.T) {
	var got struct {
		KeyId             string
		NumberOfBytes     int
		EncryptionContext map[string]string
	}
	plain := strings.Repeat("k", 64)
	kms := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		json.Unmarshal(body, &got)
		json.NewEncoder(w).Encode(map[string]string{
			"Plaintext":      base64.StdEncoding.EncodeToString([]byte(plain)),
			"CiphertextBlob": base64.StdEncoding.EncodeToString([]byte("sealed")),
		})
	}))
	defer kms.Close()
	cfg := testConfig(t, profiles, Account{Profile: "plain"})
	t.Setenv("AWS_ENDPOINT_URL_KMS", kms.URL)
	s := NewSession(cfg, ssm.StartSessionInput{Target: aws.String("i-1")})
	s.ID = "me-1"
	key, sealed, err := s.DataKey(context.Background(), "arn:key", "dice")
	if err != nil || string(key) != plain || string(sealed) != "sealed" {
		t.Errorf("%q, %q, %v", key, sealed, err)
	}
	want := map[string]string{"aws:ssm:SessionId": "me-1", "aws:ssm:TargetId": "i-1", "aws:ssm:RandomChallenge": "dice"}
	if got.KeyId != "arn:key" || got.NumberOfBytes != 64 || len(got.EncryptionContext) != len(want) {
		t.Errorf("asked for %+v", got)
	}
	for name, value := range want {
		if got.EncryptionContext[name] != value {
			t.Errorf("context %s = %q", name, got.EncryptionContext[name])
		}
	}
	if _, _, err := s.DataKey(context.Background(), "arn:key", ""); err != nil {
		t.Error(err)
	}
	if _, there := got.EncryptionContext["aws:ssm:RandomChallenge"]; there && got.EncryptionContext["aws:ssm:RandomChallenge"] == "" {
		t.Error("an empty challenge was bound")
	}
}

// TestRoleSessionName: who assumes a role is the same each time, so that
// sessions can be told to be one's own, and what the profile says.
func TestRoleSessionName(t *testing.T) {
	var names []string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names = append(names, r.FormValue("RoleSessionName"))
		io.WriteString(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIDROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}))
	defer sts.Close()
	testConfig(t, profiles, Account{Profile: "plain"}) // no other environment
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	const role = `
[profile base]
aws_access_key_id = AKID
aws_secret_access_key = secret
[profile role]
region = eu-central-1
source_profile = base
role_arn = arn:aws:iam::123456789012:role/admin
`
	for _, file := range []string{role, role, role + "role_session_name = me"} {
		os.WriteFile(os.Getenv("AWS_CONFIG_FILE"), []byte(file), 0o600)
		o := Account{Profile: "role", Notice: func(string) {}, Log: slog.New(slog.DiscardHandler)}
		_, _, warm, err := Load(context.Background(), context.Background(), &o)
		warm.Drop()
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(names) != 3 || names[0] != names[1] || names[2] != "me" {
		t.Errorf("names %q", names)
	}
	if !regexp.MustCompile(`^[\w+=,.@-]{2,64}$`).MatchString(names[0]) {
		t.Errorf("STS does not take %q", names[0])
	}
}
