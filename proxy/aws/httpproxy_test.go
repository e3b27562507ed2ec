package aws_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

// TestHTTPProxyRefuses: a proxy that opens no way is named, without its password,
// with its word and what to do, whoever calls the API.
func TestHTTPProxyRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status    int
		cause, do string
	}{
		{http.StatusForbidden, ": 403 Forbidden; ", "ask whoever runs the proxy to allow that host"},
		{http.StatusProxyAuthRequired, ": 407 Proxy Authentication Required; ", "give the proxy's user and password in HTTPS_PROXY"},
		{http.StatusFound, ": 302 Found; ", "a captive portal"},
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(tt.status)
		}))
		defer proxy.Close()
		host := strings.TrimPrefix(proxy.URL, "http://")
		for _, args := range [][]string{{"proxy", rigtest.Node1, "22"}, {"exec", "web-1", "true"}, {"ls"}} {
			cmd := exec.Command(rigtest.SSMPipe, args...)
			// No name of AWS's: whatever the environment says of proxies, nothing
			// leaves this machine.
			env := slices.DeleteFunc(os.Environ(), func(e string) bool {
				name, _, _ := strings.Cut(strings.ToLower(e), "=")
				return strings.HasSuffix(name, "_proxy") || strings.HasPrefix(name, "aws_")
			})
			cmd.Env = append(env, "HTTPS_PROXY=http://someone:secret@"+host, "AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=https://aws.invalid",
				"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=s", "AWS_EC2_METADATA_DISABLED=true", "HOME="+t.TempDir(), "SSMPIPE_CACHE="+t.TempDir())
			got := rigtest.Run(t, cmd, nil)
			if got.Status != 1 || !strings.Contains(got.Stderr, "proxy http://"+host+" refused to connect to ") || !strings.Contains(got.Stderr, tt.cause) ||
				!strings.Contains(got.Stderr, tt.do) || strings.Contains(got.Stderr, "secret") || strings.Contains(got.Stderr, "someone") {
				t.Errorf("%q: %+v", args, got)
			}
		}
	}
}
