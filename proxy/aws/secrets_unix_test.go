//go:build unix

package aws_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// canary stands where a secret may stand.
const canary = "CANARY7f3a9b"

// TestSecretsAreNotTold: whatever is wrong, no command prints what may be
// secret: not on stdout, not on stderr, not with -vv.
func TestSecretsAreNotTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		rigtest.WriteFile(t, name, text)
		return name
	}
	helper := func(name, text string) string {
		script := file(name+".sh", text)
		return "AWS_CONFIG_FILE=" + file(name, "[default]\nregion = us-east-1\ncredential_process = sh "+script+" --token "+canary+"\n")
	}
	profile := func(name, text string) string {
		return "AWS_CONFIG_FILE=" + file(name, "[default]\nregion = us-east-1\n"+text)
	}
	keys := "aws_access_key_id = AKID\naws_secret_access_key = " + canary + "\naws_session_token = " + canary + canary + "\n"
	credentials := `{"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"` + canary + `","SessionToken":"` + canary + canary + `"}`
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"code": "Refused", "message": "not " + r.Header.Get("Authorization")})
	})}
	go refuses.Serve(l)
	t.Cleanup(func() { refuses.Close() })
	here := l.Addr().String()
	noKeys := []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}
	for _, tt := range []struct {
		name string
		env  []string
	}{
		{"helper with a notice", append(noKeys, helper("notice", "echo 'a notice'; echo '"+credentials+"'\n"))},
		{"helper of another version", append(noKeys, helper("version", "echo '"+strings.Replace(credentials, "1", "2", 1)+"'\n"))},
		{"helper that breaks off", append(noKeys, helper("half", "printf '"+credentials[:len(credentials)-2]+"'\n"))},
		{"helper with a wrong type", append(noKeys, helper("type", "echo '"+strings.Replace(credentials, `"AKID"`, "7", 1)+"'\n"))},
		{"helper that fails", append(noKeys, helper("fails", "echo '"+credentials+"'; exit 3\n"))},
		{"helper's keys are refused", append(noKeys, helper("good", "echo '"+credentials+"'\n"))},
		{"helper after a variable", append(noKeys, profile("variable", "credential_process = TOKEN="+canary+" false\n"))},
		{"profile's keys are refused", append(noKeys, profile("keys", keys))},
		{"profile without an =", append(noKeys, profile("line", "aws_access_key_id = AKID\naws_secret_access_key "+canary+"\n"))},
		{"profile without a key ID", append(noKeys, profile("partial", "aws_secret_access_key = "+canary+"\n"))},
		{"a section that is not closed", append(noKeys, profile("section", "[profile "+canary+"\n"))},
		{"endpoint in the profile", []string{"AWS_ENDPOINT_URL=", profile("endpoint", "endpoint_url = https://me:"+canary+"@127.0.0.1:x\n")}},
		{"endpoint in a section", []string{profile("services", "services = s\n[services s]\nssmmessages =\n  endpoint_url = https://me:"+canary+"@127.0.0.1:x\n")}},
		{"session token", []string{"AWS_SESSION_TOKEN=" + canary}},
		{"messages endpoint is no URL", []string{"AWS_ENDPOINT_URL_SSMMESSAGES=https://me:" + canary + "@127.0.0.1:x"}},
		{"messages endpoint without a scheme", []string{"AWS_ENDPOINT_URL_SSMMESSAGES=me:" + canary + "@127.0.0.1"}},
		{"messages endpoint with a password", []string{"AWS_ENDPOINT_URL_SSMMESSAGES=http://me:" + canary + "@" + here + "/?x=" + canary}},
		{"endpoint is no URL", []string{"AWS_ENDPOINT_URL=https://me:p%" + canary + "@127.0.0.1"}},
		{"endpoint with a password", []string{"AWS_ENDPOINT_URL=http://me:" + canary + "@127.0.0.1:1/" + "?x=" + canary}},
		{"EC2's endpoint is no URL", []string{"AWS_ENDPOINT_URL_EC2=http://me:" + canary + "/@127.0.0.1:1"}},
		{"proxy that is not there", []string{"AWS_ENDPOINT_URL=https://aws.invalid", "HTTPS_PROXY=http://me:" + canary + "@127.0.0.1:1"}},
		{"proxy that refuses", []string{"AWS_ENDPOINT_URL=https://aws.invalid", "HTTPS_PROXY=http://me:" + canary + "@" + here}},
		{"proxy is no URL", []string{"AWS_ENDPOINT_URL=https://aws.invalid", "HTTPS_PROXY=http://me:" + canary + "@127.0.0.1:x"}},
		{"container", append(noKeys, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://"+here+"/?x="+canary, "AWS_CONTAINER_AUTHORIZATION_TOKEN=Bearer "+canary)},
		{"container that is not there", append(noKeys, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://me:"+canary+"@127.0.0.1:1/?x="+canary)},
		{"container is no URL", append(noKeys, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://me:"+canary+"@127.0.0.1:x")},
		{"web identity", append(noKeys, "AWS_WEB_IDENTITY_TOKEN_FILE="+file("token", canary), "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/r", "AWS_ENDPOINT_URL_STS=http://"+here)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := rigtest.Service(t, ssmtest.Config{}, "127.0.0.1:1")
			srv.OnAPI(func(operation string) *ssmtest.APIError {
				return &ssmtest.APIError{Status: 400, Code: "Refused", Message: "see wss://me:" + canary + "@host/x?X-Amz-Signature=" + canary}
			})
			env := append(rigtest.Environ(t, srv), "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_CONFIG_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true")
			env = append(env, tt.env...)
			response := `{"SessionId":"s-0123456789abcdef0","StreamUrl":"ws://me:` + canary + `@` + here + `/x?X-Amz-Signature=` + canary + `","TokenValue":"` + canary + `"}`
			for _, args := range [][]string{
				{"proxy", "-vv", "--connect-timeout", "2s", rigtest.Node1},
				{"ls", "-vv", "--connect-timeout", "2s"},
				{"sessions", "-vv", "--connect-timeout", "2s"},
				{"exec", "-vv", "--connect-timeout", "2s", rigtest.Node1, "true"},
				{"doctor", "-vv", "--connect-timeout", "2s", rigtest.Node1},
				{"doctor", "-vv", "--connect-timeout", "2s", "--json", rigtest.Node1},
				{"plugin", response, "us-east-1", "StartSession", "", `{"Target":"` + rigtest.Node1 + `"}`, ""},
				{"plugin", response},
			} {
				ctx, stop := context.WithTimeout(t.Context(), time.Minute)
				cmd := exec.CommandContext(ctx, rigtest.SSMPipe, args...)
				cmd.Env = env
				got := rigtest.Run(t, cmd, nil)
				stop()
				if text := string(got.Stdout) + got.Stderr; strings.Contains(text, canary) {
					t.Errorf("%q: %s", args[:2], text)
				}
				if got.Status == 2 && len(args) > 2 || got.Status < 0 {
					t.Errorf("%q: status %d: %s", args, got.Status, got.Stderr)
				}
			}
		})
	}
}
