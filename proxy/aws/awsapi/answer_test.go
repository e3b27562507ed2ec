package awsapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// askers are all who read answers from the network, by what they need of the
// environment: clients of APIs, and what fetches credentials.
var askers = map[string]struct {
	env map[string]string // URL and HOME stand for themselves
	ask func(context.Context, aws.Config) error
}{
	"ssm": {nil, func(ctx context.Context, cfg aws.Config) error {
		_, err := ssm.NewFromConfig(cfg).StartSession(ctx, &ssm.StartSessionInput{Target: aws.String("i-1")})
		return err
	}},
	"ec2": {nil, func(ctx context.Context, cfg aws.Config) error {
		_, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
		return err
	}},
	"ecs": {nil, func(ctx context.Context, cfg aws.Config) error {
		_, err := ecs.NewFromConfig(cfg).ListClusters(ctx, &ecs.ListClustersInput{})
		return err
	}},
	"kms": {nil, func(ctx context.Context, cfg aws.Config) error {
		_, err := kms.NewFromConfig(cfg).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: aws.String("k")})
		return err
	}},
	"connect": {nil, func(ctx context.Context, cfg aws.Config) error {
		_, err := ec2instanceconnect.NewFromConfig(cfg).SendSSHPublicKey(ctx, &ec2instanceconnect.SendSSHPublicKeyInput{
			InstanceId: aws.String("i-1"), InstanceOSUser: aws.String("u"), SSHPublicKey: aws.String("k")})
		return err
	}},
	"sts": {nil, func(ctx context.Context, cfg aws.Config) error {
		_, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	}},
	"web identity": {map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": "HOME/token"}, fetch},
	"container":    {map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "URL"}, fetch},
	"metadata":     {map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "URL"}, fetch},
	"sso":          {map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "valid"}, fetch},
	"sso oidc":     {map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "expired"}, fetch},
}

func fetch(ctx context.Context, cfg aws.Config) error {
	_, err := cfg.Credentials.Retrieve(ctx)
	return err
}

// askIn has one of askers ask a server at url.
func askIn(t *testing.T, asker, url string) error {
	home := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("token", "t")
	config := ""
	for name, expires := range map[string]string{"valid": "2999-01-01T00:00:00Z", "expired": "2001-01-01T00:00:00Z"} {
		config += fmt.Sprintf("[profile %s]\nsso_session = %[1]s\nsso_account_id = 123456789012\nsso_role_name = r\n"+
			"[sso-session %[1]s]\nsso_region = us-east-1\nsso_start_url = https://example.com/\n", name)
		write(fmt.Sprintf(".aws/sso/cache/%x.json", sha1.Sum([]byte(name))), fmt.Sprintf(
			`{"accessToken":"a","expiresAt":%q,"refreshToken":"r","clientId":"c","clientSecret":"s","registrationExpiresAt":"2999-01-01T00:00:00Z"}`, expires))
	}
	write(".aws/config", config)
	env := map[string]string{"HOME": home, "USERPROFILE": home, "AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": home + "/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": home + "/none"}
	for name, value := range askers[asker].env {
		env[name] = strings.ReplaceAll(strings.ReplaceAll(value, "HOME", home), "URL", url)
	}
	if env["AWS_ACCESS_KEY_ID"] == "" {
		env["AWS_SECRET_ACCESS_KEY"] = ""
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a := Account{Notice: func(text string) { t.Log(text) }, Log: slog.New(slog.DiscardHandler)}
	cfg, err := Read(ctx, ctx, &a)
	if err != nil {
		t.Fatal(err)
	}
	SendWhole(&cfg)
	defer CloseIdle(&cfg)
	return askers[asker].ask(ctx, cfg)
}

// TestEndlessAnswers: no answer is read without an end, whoever gives it.
func TestEndlessAnswers(t *testing.T) {
	chunk := []byte(strings.Repeat("a", 64<<10))
	member := func(text string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, text)
		w.Close()
		return b.Bytes()
	}
	// 1 GiB in members of 1 MiB, of which one is compressed here.
	bomb := slices.Concat(member(`{"a":"`), bytes.Repeat(member(strings.Repeat("a", 1<<20)), 1<<10))
	for name, answer := range map[string]func(w http.ResponseWriter, status int){
		"body": func(w http.ResponseWriter, status int) {
			w.WriteHeader(status)
			_, err := io.WriteString(w, `{"a":"`)
			for err == nil {
				_, err = w.Write(chunk)
			}
		},
		"gzip": func(w http.ResponseWriter, status int) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			w.Write(bomb)
		},
		"head": func(w http.ResponseWriter, status int) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				defer conn.Close()
				fmt.Fprintf(conn, "HTTP/1.1 %d OK\r\n", status)
				for err == nil {
					_, err = fmt.Fprintf(conn, "X: %s\r\n", chunk)
				}
			}
		},
	} {
		for asker := range askers {
			for _, status := range []int{200, 400} {
				if status != 200 && name != "body" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", asker, name, status), func(t *testing.T) {
					var most atomic.Int64 // bytes of one connection
					srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						io.Copy(io.Discard, r.Body)
						answer(w, status)
					}))
					srv.Listener = &countingListener{srv.Listener, &most}
					srv.Start()
					defer srv.Close()
					err := askIn(t, asker, srv.URL)
					if err == nil || len(Cause(err)) > 3*safetext.MaxSaid {
						t.Errorf("got %.1000v", err)
					}
					if name == "head" && askers[asker].env == nil && !strings.Contains(fmt.Sprint(err), "65536 bytes") {
						t.Errorf("got %v", err)
					}
					// Sockets have buffers of a few MB.
					if n := most.Load(); n > maxAnswer+16<<20 {
						t.Errorf("%d MiB were read", n>>20)
					}
				})
			}
		}
	}
}

// countingListener's connections count what is written to each.
type countingListener struct {
	net.Listener
	most *atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &countingConn{Conn: c, most: l.most}, err
}

type countingConn struct {
	net.Conn
	n    int64
	most *atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n += int64(n)
	if c.n > c.most.Load() {
		c.most.Store(c.n)
	}
	return n, err
}

// TestAnswerOfTheLargestSize is whole, and one byte more is an error.
func TestAnswerOfTheLargestSize(t *testing.T) {
	for extra, want := range map[int64]error{0: nil, 1: errAnswerTooLarge} {
		b := &limitedBody{ReadCloser: io.NopCloser(io.LimitReader(zeros{}, 1000+extra)), left: 1000}
		b.isPage()
		n, err := io.Copy(io.Discard, b)
		if n != 1000 || !errors.Is(err, want) {
			t.Errorf("%d more: %d bytes, %v", extra, n, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestForeignAnswers: what answers in the place of AWS is named, and what to do.
func TestForeignAnswers(t *testing.T) {
	for _, tt := range []struct {
		status       int
		header, body string
		cause, next  string
	}{
		{302, "Location: https://u:secret@portal.example/login?k=secret", "", "HTTP status 302 Found, which leads to portal.example", "captive portal"},
		{200, "Content-Type: text/html", "<p>Welcome", "HTTP status 200 OK", "captive portal"},
		{200, "Content-Type: application/json", "<!DOCTYPE html><html>Log in", "HTTP status 200 OK", "captive portal"},
		{403, "Content-Type: text/html", "<html>blocked", "HTTP status 403 Forbidden", "captive portal"},
		{407, "Proxy-Authenticate: Basic", "", "HTTP status 407 Proxy Authentication Required", "HTTPS_PROXY, as http://NAME:PASSWORD@HOST:PORT"},
		{403, "Content-Type: application/x-amz-json-1.1", `{"__type":"AccessDeniedException","message":"no."}`, "AccessDeniedException: no", "IAM permission"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, value, _ := strings.Cut(tt.header, ": ")
			w.Header().Set(name, value)
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}))
		for _, asker := range []string{"ssm", "sts", "ec2"} {
			err := askIn(t, asker, srv.URL)
			if err == nil {
				t.Errorf("%s, %d: no error", asker, tt.status)
				continue
			}
			if tt.cause == "AccessDeniedException: no" && asker != "ssm" {
				continue // these have XML
			}
			text := causeAndNext(err)
			if !strings.Contains(text, tt.cause+"; ") || !strings.Contains(text, tt.next) || strings.Contains(text, "secret") {
				t.Errorf("%s, %d: %s", asker, tt.status, text)
			}
		}
		srv.Close()
	}
}

// causeAndNext is how an answer's error is told.
func causeAndNext(err error) string {
	var foreign *ForeignError
	if errors.As(err, &foreign) {
		return foreign.Error() + "; " + NextForProxy(err)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err.Error()
	}
	return Cause(err) + "; " + NextForCode(api.ErrorCode())
}
